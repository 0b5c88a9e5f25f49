"""Who may come in: passwords, roles, cookies, and where the workbench listens."""

import stat
from pathlib import Path

import pytest

from flywheel.corrections.workbench.people import ROLES, People
from flywheel.corrections.workbench.rules import RULES, Refusal
from flywheel.corrections.workbench.server import check_bind
from flywheel.corrections.workbench.sessions import Attempts, Session, Sessions
from flywheel.errors import FlywheelError
from flywheel.privacy.listening import Tls

PASSWORD = "correct horse battery"


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(tmp_path / "qa" / "people.json")


def test_without_named_users_a_name_is_enough_and_only_here(people: People):
    assert people.sign_in("ann", "").roles == ROLES
    check_bind("127.0.0.1", people)
    check_bind("::1", people)
    for host in ("0.0.0.0", "192.168.1.5", "::", "flywheel.example.org"):
        with pytest.raises(FlywheelError, match="by name alone") as caught:
            check_bind(host, people)
        assert "flywheel workbench-users add NAME --role" in caught.value.remedy
    for name in ("system", "simulated-reviewer-1", "", "a b", "<b>", "x" * 65):
        with pytest.raises(Refusal, match="W10"):
            people.sign_in(name, "")


def test_named_users_need_their_password_and_have_their_roles(people: People, tmp_path: Path):
    with pytest.raises(FlywheelError, match="served as bench.example.org"):
        check_bind("127.0.0.1", people, names=["localhost", "bench.example.org"])
    people.add("ann", ["annotator"], PASSWORD, by="lea")
    check_bind("127.0.0.1", people, names=["bench.example.org"])
    check_bind("0.0.0.0", people, tls=Tls(Path("certificate.pem"), Path("key.pem")))
    with pytest.raises(FlywheelError, match="without TLS") as caught:
        check_bind("0.0.0.0", people)
    assert "--tls-certificate FILE --tls-key FILE" in caught.value.remedy
    file = tmp_path / "qa" / "people.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and PASSWORD not in file.read_text()
    assert people.sign_in("ann", PASSWORD).roles == ("annotator",)
    for name, password in (("ann", "wrong"), ("bob", PASSWORD), ("ann", "")):
        with pytest.raises(Refusal, match="W10"):
            people.sign_in(name, password)
    people.add("ann", ["annotator", "lead"], PASSWORD, by="lea")
    found = people.current("ann")
    assert found and found.roles == ("annotator", "lead"), "roles are looked up at each request"
    people.remove("ann", by="lea")
    assert people.current("ann") is None


@pytest.mark.parametrize(
    ("name", "roles", "password", "said"),
    [("ann", [], PASSWORD, "not known"), ("ann", ["boss"], PASSWORD, "not known"), ("ann", ["lead"], "short", "under 12"),
     ("system", ["lead"], PASSWORD, "no usable name")],
)  # fmt: skip
def test_a_bad_user_is_refused(people: People, name: str, roles: list[str], password: str, said: str):
    with pytest.raises(FlywheelError, match=said):
        people.add(name, roles, password, by="lea")


def test_cookies_cannot_be_forged(tmp_path: Path):
    sessions, others = Sessions(tmp_path / "a.key"), Sessions(tmp_path / "b.key")
    session = sessions.new("ann")
    cookie = sessions.cookie(session)
    assert sessions.read(cookie) == session and Sessions(tmp_path / "a.key").read(cookie) == session
    body, signature = cookie.split(".")
    for forged in (
        None,
        "",
        "x",
        f"{body}.{'0' * 64}",
        f"{body[:-2]}AA.{signature}",
        others.cookie(session),
        f".{signature}",
    ):
        assert sessions.read(forged) is None
    assert sessions.read(sessions.cookie(Session("i", "ann", 0))) is None, "too old"
    assert sessions.token(session) != sessions.token(sessions.new("ann")) != others.token(session)
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


def test_guessing_is_slowed_down():
    attempts = Attempts()
    for _ in range(5):
        attempts.check("ann")
        attempts.failed("ann")
    attempts.check("bob")
    with pytest.raises(Refusal, match="W11"):
        attempts.check("ann")


def test_every_rule_says_what_to_do():
    assert all(400 <= rule.status < 500 and rule.says and rule.remedy for rule in RULES.values())
    assert [int(code[1:]) for code in RULES] == list(range(1, len(RULES) + 1))
