"""Alerts against real servers on loopback: a webhook that takes Slack's JSON, a mail server, and both failing."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flywheel.operations.alerts import Alert, raise_alert, send_what_waits, slack_body
from flywheel.settings import Settings
from flywheel.workflows.alert_settings import Alerts
from flywheel.workflows.pack import Egress, Pack

NOW = datetime(2026, 1, 14, tzinfo=UTC)
ALERT = Alert(
    workflow="support_desk", owner="team:support", stage="eval_results", week="2026-01-05",
    serving="support_desk: production serves adapter-1 since week 2025-12-29; it is not affected",
    cause="vLLM did not start <@channel> & co", remedy="flywheel doctor", link="http://127.0.0.1:3000/runs/1", raised_at=NOW,
)  # fmt: skip


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers every POST with `status`; its address and what it was sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/services/T0/SECRETTOKEN", bodies
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def mail_server() -> Iterator[tuple[str, list[str]]]:
    """As much of SMTP as a client needs to hand over one message."""
    mails: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test\r\n")
            data: list[str] | None = None
            for raw in self.rfile:
                line = raw.decode().rstrip("\r\n")
                if data is not None:
                    if line == ".":
                        mails.append("\n".join(data))
                        data = None
                        self.wfile.write(b"250 taken\r\n")
                    else:
                        data.append(line)
                elif line.upper() == "DATA":
                    data = []
                    self.wfile.write(b"354 go on\r\n")
                elif line.upper() == "QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                else:
                    self.wfile.write(b"250 ok\r\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"smtp://127.0.0.1:{server.server_address[1]}", mails
    finally:
        server.shutdown()
        server.server_close()


def with_mail(pack: Pack, egress: list[Egress] | None = None) -> Pack:
    changed = {"alerts": Alerts(email=["oncall@example.org"]), "egress": egress or []}
    return Pack(**{**vars(pack), "settings": pack.settings.model_copy(update=changed)})


def journal(home: Path) -> list[dict]:
    return [json.loads(line) for line in (home / "alerts" / "support_desk.jsonl").read_text().splitlines()]


def test_an_alert_reaches_both_channels_and_says_owner_stage_cause_remedy_and_link(tmp_path: Path, pack: Pack):
    with webhook() as (url, bodies), mail_server() as (smtp, mails):
        settings = Settings(home=tmp_path, alert_webhook=url, alert_smtp=smtp)
        assert raise_alert(settings, with_mail(pack), ALERT) == {"webhook": "sent", "email": "sent"}
    body = json.loads(bodies[0])
    text = body["blocks"][0]["text"]["text"]
    for said in (
        "team:support",
        "eval_results",
        "vLLM did not start",
        "flywheel doctor",
        "http://127.0.0.1:3000/runs/1",
        "morning",
    ):
        assert said in text and said in mails[0]
    assert body["text"].startswith("support_desk: production serves adapter-1") and "<@channel>" not in text
    assert "To: oncall@example.org" in mails[0] and "Subject: [flywheel] support_desk, week 2026-01-05" in mails[0]
    assert not list((tmp_path / "alerts" / "outbox").iterdir())
    everything = "".join(file.read_text() for file in tmp_path.rglob("*.json*"))
    assert "SECRETTOKEN" not in everything, "the address may hold a token"
    sends = [json.loads(line) for line in (tmp_path / "egress" / "support_desk.jsonl").read_text().splitlines()]
    assert [(one["purpose"], one["left_the_machine"], one["answer"]) for one in sends] == [
        ("alert", False, "200"),
        ("alert", False, "taken"),
    ]


def test_what_no_channel_took_waits_is_sent_later_once_and_is_given_up_after_three_days(tmp_path: Path, pack: Pack):
    with webhook(500) as (url, _):
        settings = Settings(home=tmp_path, alert_webhook=url)
        assert raise_alert(settings, pack, ALERT) == {"webhook": "failed: HTTPStatusError"}
    assert send_what_waits(settings, pack, NOW) == 1, "nobody listens there any more"
    with webhook() as (url, bodies):
        settings = Settings(home=tmp_path, alert_webhook=url)
        assert send_what_waits(settings, pack, NOW) == 0 and send_what_waits(settings, pack, NOW) == 0
        assert len(bodies) == 1
    with webhook(500) as (url, _):
        settings = Settings(home=tmp_path, alert_webhook=url)
        raise_alert(settings, pack, ALERT)
        assert send_what_waits(settings, pack, NOW + timedelta(days=4)) == 0
    assert journal(tmp_path)[-1]["answers"] == {"outbox": "given up after three days"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"alert_webhook": "https://hooks.example.com/x"}, "does not list it"), ({"alert_webhook": "htp://hooks/SECRET"}, "that is no address"),
     ({"alert_smtp": "smtp://mail.example.com:25"}, "does not list it"), ({"alert_smtp": "mail"}, "is no address")],
)  # fmt: skip
def test_a_host_that_the_pack_does_not_list_gets_nothing_and_the_log_says_so(
    tmp_path: Path, pack: Pack, settings: dict, said: str
):
    (answer,) = raise_alert(Settings(home=tmp_path, **settings), with_mail(pack), ALERT).values()
    assert answer.startswith("refused") and said in answer
    assert not (tmp_path / "egress").exists() and journal(tmp_path)[0]["answers"]


def test_a_listed_host_is_asked_over_tls_only(tmp_path: Path, pack: Pack):
    listed = [Egress(host="hooks.example.com", purpose="alert")]
    (answer,) = raise_alert(
        Settings(home=tmp_path, alert_webhook="http://hooks.example.com/x"), with_mail(pack, listed), ALERT
    ).values()
    assert "without encryption" in answer


def test_what_a_run_says_is_shown_in_an_alert_and_fetched_by_nobody(tmp_path: Path, pack: Pack):
    hostile = ALERT.model_copy(
        update={
            "cause": "<http://evil|click> \x1b[2J\u202e <!here> http://evil/?who\nSubject: forged",
            "stage": "a\x1b]0;x\x07",
        }
    )
    body = slack_body(hostile)
    assert body["unfurl_links"] is False and body["unfurl_media"] is False
    text = body["blocks"][0]["text"]["text"]
    assert "<" not in text and "\\u001b[2J\\u202e" in text
    with mail_server() as (smtp, mails):
        raise_alert(Settings(home=tmp_path, alert_smtp=smtp), with_mail(pack), hostile)
    (mail,) = mails
    assert "\x1b" not in mail and mail.lower().count("\nsubject: [flywheel]") + mail.lower().startswith("subject:") == 1


def test_personal_data_in_a_cause_stays_here(pack: Pack):
    from flywheel.operations.alerts import _clean
    from flywheel.privacy.egress import Destination

    personal = ALERT.model_copy(update={"cause": "row of ann@example.com is broken"})
    away, here = Destination("hooks.example.com", True, ("email",)), Destination("127.0.0.1", False, ())
    assert "ann@" not in json.dumps(slack_body(_clean(personal, away))) and "ann@" in json.dumps(
        slack_body(_clean(personal, here))
    )


def test_without_a_channel_an_alert_is_in_the_log(tmp_path: Path, pack: Pack):
    assert raise_alert(Settings(home=tmp_path), pack, ALERT) == {}
    assert journal(tmp_path)[0]["answers"] == "no channel is set up" and not list(
        (tmp_path / "alerts" / "outbox").iterdir()
    )


@pytest.mark.parametrize(
    "half", [b"", b'{"alert": {"workf', b"[]", b"\xff", b'{"alert": {}, "channels": []}', b'{"channels": ["pigeon"]}']
)
def test_a_file_of_the_outbox_that_cannot_be_read_is_set_aside_and_the_others_are_sent(
    tmp_path: Path, pack: Pack, half: bytes
):
    with webhook(500) as (url, _):
        raise_alert(Settings(home=tmp_path, alert_webhook=url), pack, ALERT)
    broken = tmp_path / "alerts" / "outbox" / "support_desk-0000.json"
    broken.write_bytes(half)
    with webhook() as (url, bodies):
        settings = Settings(home=tmp_path, alert_webhook=url)
        assert send_what_waits(settings, pack, NOW) == 0 and send_what_waits(settings, pack, NOW) == 0
        assert len(bodies) == 1
    (aside,) = broken.parent.iterdir()
    assert aside.name == "support_desk-0000.json.unreadable" and aside.read_bytes() == half
    (said,) = [one["answers"]["outbox"] for one in journal(tmp_path) if "outbox" in one["answers"]]
    assert said.startswith("set aside as support_desk-0000.json.unreadable: ")


def test_a_file_of_the_outbox_is_written_whole_or_not_at_all(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with webhook(500) as (url, _):
        settings = Settings(home=tmp_path, alert_webhook=url)
        raise_alert(settings, pack, ALERT)
        (file,) = (tmp_path / "alerts" / "outbox").iterdir()
        before = file.read_bytes()
        monkeypatch.setattr("flywheel.operations.alerts.os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            raise_alert(settings, pack, ALERT.model_copy(update={"raised_at": NOW + timedelta(hours=1)}))
    assert list(file.parent.iterdir()) == [file] and file.read_bytes() == before


def test_what_another_sensor_sent_meanwhile_is_not_sent_again(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
):
    gone = tmp_path / "alerts" / "outbox" / "support_desk-0000.json"
    gone.parent.mkdir(parents=True)
    monkeypatch.setattr(Path, "glob", lambda *_: [gone])
    assert send_what_waits(Settings(home=tmp_path), pack, NOW) == 0
    assert not list(gone.parent.iterdir()) and not (tmp_path / "alerts" / "support_desk.jsonl").exists()
