"""Alerts: who is told when a week goes wrong, in words that name the remedy, and the log of what was sent.

Line one says what production serves, since when, and whether it is affected. Only damage to the lake pages; the rest can wait for the
morning, and says so (design.md 8.18). Channels are a webhook that takes Slack's JSON and e-mail. A host that is not this machine has to
stand in the pack under `egress` with purpose alert. An alert is kept in the outbox until every channel took it; a file there that cannot be
read is set aside, and the log says so.
"""

import json
import os
import smtplib
import ssl
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel

from flywheel.chat.visible import visible
from flywheel.errors import FlywheelError
from flywheel.privacy.egress import Destination, destination, log_send
from flywheel.settings import Settings
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.pack import Pack

_PURPOSE = "alert"
_GIVE_UP_AFTER = timedelta(days=3)
_HELD_BACK = "held back: it may hold personal data; the link shows it"
_PATIENCE = 10.0  # seconds a channel may take
_UNREADABLE = ".unreadable"


class Alert(BaseModel):
    """One alert. `serving` is line one; `urgency` is page for damage, morning for everything else."""

    workflow: str
    owner: str
    stage: str
    week: str
    serving: str
    cause: str
    remedy: str
    link: str
    urgency: Literal["page", "morning"] = "morning"
    raised_at: datetime

    def lines(self) -> list[str]:
        """The alert as people read it."""
        when = "now" if self.urgency == "page" else "in the morning is soon enough"
        return [
            self.serving, f"{self.workflow}, week {self.week}: {self.stage} failed" if self.stage else f"{self.workflow}, week {self.week}",
            f"cause: {self.cause}", f"remedy: {self.remedy}", f"owner: {self.owner}; {when}", self.link,
        ]  # fmt: skip

    def key(self) -> str:
        """The same for the same trouble, whenever it is raised."""
        return sha256_of([self.workflow, self.week, self.stage, self.cause, self.link])[:16]


class Waiting(BaseModel):
    """A file of the outbox: the alert, and the channels that did not take it yet."""

    alert: Alert
    channels: list[Literal["webhook", "email"]]


def slack_body(alert: Alert) -> dict[str, Any]:
    """Slack's incoming-webhook JSON, which Mattermost, Rocket.Chat and others take too: `text` and one section block."""
    first, *rest = alert.lines()
    # Slack reads &, < and > as markup, and fetches what a bare address names: text of a run must not become a link, a mention or a request.
    safe = [visible(line).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in (first, *rest)]
    body = f"*{safe[0]}*\n" + "\n".join(safe[1:])
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": body[:2_900]}}]
    return {"text": safe[0], "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def raise_alert(settings: Settings, pack: Pack, alert: Alert) -> dict[str, str]:
    """Send an alert to every channel that is set up; what each said. What a channel did not take stays in the outbox."""
    waiting = Waiting(alert=alert, channels=_channels(settings, pack))
    file = settings.alerts() / "outbox" / f"{alert.workflow}-{alert.key()}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    _keep(file, waiting)
    return _deliver(settings, pack, file, waiting)


def send_what_waits(settings: Settings, pack: Pack, now: datetime) -> int:
    """Try the outbox of a workflow again; how many alerts still wait.

    After three days an alert is given up, and a file that holds none is set aside; the log says both.
    """
    left = 0
    for file in sorted((settings.alerts() / "outbox").glob(f"{pack.name}-*.json")):
        if (waiting := _waiting(settings, pack, file)) is None:
            continue
        if now - waiting.alert.raised_at > _GIVE_UP_AFTER:
            _note(settings, waiting.alert, {"outbox": "given up after three days"})
            file.unlink(missing_ok=True)
        else:
            left += any(answer != "sent" for answer in _deliver(settings, pack, file, waiting).values())
    return left


def _waiting(settings: Settings, pack: Pack, file: Path) -> Waiting | None:
    """What a file of the outbox holds; None where another sensor sent it meanwhile, or where it was set aside."""
    try:
        return Waiting.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        aside = file.with_name(file.name + _UNREADABLE)
        with suppress(FileNotFoundError):
            os.replace(file, aside)
            _log_line(
                settings, pack.name, {"answers": {"outbox": f"set aside as {aside.name}: {type(error).__name__}"}}
            )
        return None


def _keep(file: Path, waiting: Waiting) -> None:
    """Write a file of the outbox whole or not at all: other sensors read it, and a killed process must leave no half of it."""
    handle, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(waiting.model_dump_json())
            out.flush()
            os.fsync(out.fileno())
        os.replace(partial, file)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _channels(settings: Settings, pack: Pack) -> list[Literal["webhook", "email"]]:
    found: list[Literal["webhook", "email"]] = []
    if settings.alert_webhook:
        found.append("webhook")
    if settings.alert_smtp and pack.settings.alerts.email:
        found.append("email")
    return found


def _deliver(settings: Settings, pack: Pack, file: Path, waiting: Waiting) -> dict[str, str]:
    alert = waiting.alert
    send = {"webhook": _to_webhook, "email": _to_people}
    answers: dict[str, str] = {}
    for channel in waiting.channels:
        try:
            send[channel](settings, pack, alert)
            answers[channel] = "sent"
        except FlywheelError as error:
            answers[channel] = f"refused: {error.what}"
        except (httpx.HTTPError, smtplib.SMTPException, OSError) as error:
            # The address may hold a token, and errors quote addresses: only the kind of the error is kept.
            answers[channel] = f"failed: {type(error).__name__}"
    left = [channel for channel in waiting.channels if answers[channel] != "sent"]
    if left:
        _keep(file, waiting.model_copy(update={"channels": left}))
    else:
        file.unlink(missing_ok=True)
    _note(settings, alert, answers)
    return answers


def _note(settings: Settings, alert: Alert, answers: dict[str, str]) -> None:
    """One line a delivery in alerts/WORKFLOW.jsonl; an alert without any channel is found there alone."""
    _log_line(settings, alert.workflow, {**alert.model_dump(mode="json"), "answers": answers or "no channel is set up"})


def _log_line(settings: Settings, workflow: str, said: dict[str, Any]) -> None:
    with (settings.alerts() / f"{workflow}.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"at": datetime.now(UTC).isoformat(), **said}) + "\n")


def _clean(alert: Alert, to: Destination) -> Alert:
    """The alert as it may go there: a cause that may hold personal data stays on this machine."""
    return alert.model_copy(update={"cause": _HELD_BACK}) if to.held_back([alert.cause, alert.remedy]) else alert


def _to_webhook(settings: Settings, pack: Pack, alert: Alert) -> None:
    url = str(settings.alert_webhook)
    to = destination(url, pack.settings.egress, _PURPOSE, where="FLYWHEEL_ALERT_WEBHOOK")
    body = canonical_json(slack_body(_clean(alert, to))).encode()
    answer = "no answer"
    try:
        response = httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=_PATIENCE)
        answer = str(response.status_code)
        response.raise_for_status()
    finally:
        _log(settings, pack, to, body, answer)


def _to_people(settings: Settings, pack: Pack, alert: Alert) -> None:
    server = urlsplit(str(settings.alert_smtp))
    if server.scheme not in ("smtp", "smtps") or not server.hostname:
        raise FlywheelError(
            "the mail server is no address", where="FLYWHEEL_ALERT_SMTP", remedy="write smtp://127.0.0.1:25"
        )
    to = destination(f"https://{server.hostname}", pack.settings.egress, _PURPOSE, where="FLYWHEEL_ALERT_SMTP")
    mail, lines = EmailMessage(), _clean(alert, to).lines()
    mail["Subject"] = f"[flywheel] {visible(' '.join(lines[1].split())[:150])}"
    mail["From"] = settings.alert_from
    mail["To"] = ", ".join(pack.settings.alerts.email)
    mail.set_content("\n".join(map(visible, lines)))
    answer = "no answer"
    try:
        port = server.port or (465 if server.scheme == "smtps" else 25)
        with _mail_connection(server.scheme, server.hostname, port) as connection:
            if to.leaves and server.scheme == "smtp":
                connection.starttls(context=ssl.create_default_context())
            if settings.alert_smtp_user:
                connection.login(settings.alert_smtp_user, settings.alert_smtp_password or "")
            connection.send_message(mail)
        answer = "taken"
    finally:
        _log(settings, pack, to, mail.as_bytes(), answer)


def _mail_connection(scheme: str, host: str, port: int) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=_PATIENCE, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=_PATIENCE)


def _log(settings: Settings, pack: Pack, to: Destination, body: bytes, answer: str) -> None:
    log_send(settings.egress_log(pack.name), to, purpose=_PURPOSE, messages=1, size=len(body), sha256=sha256_of(body.decode("utf-8", "replace")), answer=answer)  # fmt: skip
