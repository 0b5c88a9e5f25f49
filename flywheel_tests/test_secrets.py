"""No password or token of the installation is ever written: planted in the settings, looked for in everything that is kept or printed."""

import logging
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from flywheel.corrections.stores import open_store
from flywheel.errors import FlywheelError
from flywheel.operations.alerts import Alert, raise_alert
from flywheel.privacy.egress import destination
from flywheel.privacy.erasure import search
from flywheel.promotion.hooks import tell
from flywheel.serving.vllm_server import serving_environment
from flywheel.settings import SECRETS, Settings
from flywheel.training.stage import child_environment
from flywheel.workflows.alert_settings import Alerts
from flywheel.workflows.hook import Hook
from flywheel.workflows.pack import Pack
from flywheel_tests.operations.test_alerts import webhook
from flywheel_tests.promotion.house import make_house

PLANTED = {
    **{name: f"{name.lower()}PLANTED" for name in SECRETS},
    "FLYWHEEL_ALERT_WEBHOOK": "http://127.0.0.1:9/services/T0PLANTED/B0/webhookPLANTEDtoken",
    "FLYWHEEL_ALERT_SMTP": "smtp://mailer:smtpurlPLANTEDpass@127.0.0.1:9",
    "FLYWHEEL_ALERT_SMTP_USER": "mailer",
    "FLYWHEEL_ALERT_SMTP_PASSWORD": "smtpPLANTEDpassword",
    "FLYWHEEL_TEACHER_KEY": "teacherPLANTEDkey",
    "FLYWHEEL_QA_STORE": "postgresql+psycopg2://qa:postgresPLANTEDpass@127.0.0.1:9/qa",
    "PLANTED_HOOK": "http://127.0.0.1:9/services/hookPLANTEDtoken",
}
NEEDLE = "PLANTED"
ALERT = Alert(workflow="door", owner="team:doors", stage="eval_results", week="2026-01-05", serving="door: base serves", cause="vLLM ended",
              remedy="flywheel doctor", link="http://127.0.0.1:3000/runs/1", raised_at=datetime(2026, 1, 14, tzinfo=UTC))  # fmt: skip
ROOT = Path(__file__).parents[1]


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)


def test_every_setting_that_may_hold_a_secret_is_planted_and_shown_nowhere(planted: None):
    assert set(SECRETS) <= set(PLANTED)
    hidden = {name for name, field in Settings.model_fields.items() if not field.repr}
    assert {f"FLYWHEEL_{name.upper()}".replace("_QA_STORE_URL", "_QA_STORE") for name in hidden} == set(SECRETS)
    assert NEEDLE not in repr(Settings()) + str(Settings())
    with pytest.raises(ValidationError) as caught:
        Settings(retries=-1, teacher_key=["PLANTED"])  # type: ignore[arg-type]
    assert NEEDLE not in str(caught.value)


def test_children_that_train_and_serve_are_started_without_them(planted: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLYWHEEL_DAGSTER_DATABASE", "postgresql+psycopg2://dagster:PLANTED@127.0.0.1/dagster")
    for environment in (serving_environment(1), child_environment()):
        assert (
            NEEDLE not in str({name: value for name, value in environment.items() if name.startswith("FLYWHEEL_")})
            and environment["PATH"] == os.environ["PATH"]
        )


def test_alerts_hooks_and_stores_that_fail_say_nothing_of_them(
    planted: None, tmp_path: Path, pack: Pack, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    caplog.set_level(logging.DEBUG)
    acts = make_house(tmp_path / "home")
    settings = Settings(home=tmp_path / "home")
    mailed = {"alerts": Alerts(email=["oncall@example.org"])}
    raise_alert(settings, Pack(**{**vars(pack), "settings": pack.settings.model_copy(update=mailed)}), ALERT)
    for address in ("htp://127.0.0.1/PLANTED", "PLANTED", "http:///PLANTED"):
        raise_alert(Settings(home=settings.home, alert_webhook=address), pack, ALERT)
    hooked = {"on_promote": Hook(url="$PLANTED_HOOK")}
    door = Pack(**{**vars(acts.pack), "settings": acts.pack.settings.model_copy(update=hooked)})
    move = {"entry_id": "e1", "kind": "approval", "served_adapter_id": "a", "previous_adapter_id": "b", "week": "2026-01-05", "verdict": None,
            "by": "Dana", "reason": "", "decided_at": datetime(2026, 1, 14, tzinfo=UTC)}  # fmt: skip
    from flywheel.promotion.bundle import Bundle

    row = tell(acts.lake, settings, door, move, Bundle(tmp_path, "0" * 64, 1))
    assert not row["succeeded"] and row["told"] == "127.0.0.1"
    with pytest.raises(FlywheelError, match="does not answer") as caught:
        open_store(settings, "door")
    said, written = capfd.readouterr(), [str(caught.value), caplog.text, str(row)]
    assert NEEDLE not in said.out + said.err + "".join(written)
    hits, searched = search([tmp_path], [NEEDLE])
    assert hits == [] and searched > 5


def test_the_log_of_requests_names_hosts_and_no_paths(tmp_path: Path, pack: Pack, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with webhook() as (url, bodies):
        raise_alert(Settings(home=tmp_path, alert_webhook=url), pack, ALERT)
    assert bodies and "http://127.0.0.1/..." in caplog.text and "SECRETTOKEN" not in caplog.text


def test_an_address_that_is_none_is_refused_without_quoting_it():
    with pytest.raises(FlywheelError) as caught:
        destination("htp://hooks/PLANTED", [], "alert", where="FLYWHEEL_ALERT_WEBHOOK")
    assert "htp" in str(caught.value) and NEEDLE not in str(caught.value)


@pytest.mark.parametrize("url", ["https://u:p@hooks.example.com/x", "https://hooks.example.com/x?token=1",
                                 "https://hooks.slack.com/services/T0/B0/x", "https://hooks.example.com/a1b2c3d4e5f6a7b8c9d0e1f2"])  # fmt: skip
def test_a_pack_holds_no_address_with_a_secret(url: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValidationError, match=r"write url: \$NAME"):
        Hook(url=url)
    monkeypatch.setenv("A_HOOK", url)
    assert Hook(url="$A_HOOK").address() == url
    monkeypatch.delenv("A_HOOK")
    with pytest.raises(FlywheelError, match="is not set"):
        Hook(url="$A_HOOK").address()
    assert Hook(url="https://deploy.example.com/hook").address()


def test_a_deployment_brings_no_password_of_its_own():
    """Compose stops where one is not set, the example leaves them empty, Kubernetes takes them from secrets made before."""
    files = [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    assert len(files) > 8
    said = [
        f"{path.name}: {line.strip()}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"(?i)password\s*(?:=|:\s)\s*['\"]?[A-Za-z0-9]", line.split("#")[0])
    ]
    assert said == []
    users = (ROOT / "deploy" / "proxy" / "passwords.caddy").read_text(encoding="utf-8")
    assert not re.search(r"\$2[aby]\$|\$argon2", "\n".join(line.split("#")[0] for line in users.splitlines()))
    compose = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"\$\{(FLYWHEEL_\w*PASSWORD)([^}]*)", compose))
    assert len(named) >= 3 and all(rest.startswith(":?") for _, rest in named)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_whole_lap_leaves_none_of_them_in_any_file(tmp_path: Path):
    """Lake, correction store, Dagster's event storage and compute logs, specs, vLLM's log, reports, cards, and what was printed."""
    environment = {**os.environ, **PLANTED, "FLYWHEEL_HOME": str(tmp_path)}
    del environment["FLYWHEEL_QA_STORE"]  # the lap writes SQLite; the store that cannot be reached is tested above
    for words in (["lap"], ["status"], ["audit"], ["doctor"], ["report", "--weeks"]):
        environment["FLYWHEEL_HOME"] = str(
            tmp_path if words == ["lap"] else tmp_path / "lap"
        )  # the lap has a house of its own
        command = [sys.executable, "-c", "from flywheel.cli import app; app()", *words]
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
        assert NEEDLE not in ended.stdout + ended.stderr
        assert ended.returncode == 0 or words == ["doctor"], (words, ended.stderr[-2000:])
    hits, searched = search([tmp_path], [NEEDLE])
    assert hits == [] and searched > 100
    assert search([tmp_path], ["support_desk"])[0], "the search reads what lies there"
