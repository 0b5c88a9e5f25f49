"""Redaction: what is personal goes, what is not stays, formats hold, and originals are only in the vault."""

import json
import stat
from pathlib import Path

import jsonschema
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.privacy.redaction import Policy, kinds_in, policy_of, redact_frame, redact_text
from flywheel.privacy.surrogates import iban_is_valid, luhn, surrogate
from flywheel.privacy.vault import Vault

PERSONAL = {
    "email": "anna.smith@mail.example.org", "card": "4111 1111 1111 1111", "iban": "DE89 3704 0044 0532 0130 00", "national_id": "536-22-8741",
    "phone": "+49 30 901820 11", "secret": "sk-proj-abcdefghijklmnopqrstuvwx1234",
}  # fmt: skip
HARMLESS = (
    "order 4111111111111112", "2024-05-15T10:00:00Z", "550e8400-e29b-41d4-a716-446655440000", "ISBN 978-3-16-148410-0", "1,234,567.89",
    "reservation OBUT9V on HAT136", "call_0000000a1", "192.168.10.254", "version 1.2.3-4", "12345678", "20260106",
)  # fmt: skip


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vault")


@pytest.mark.parametrize(("kind", "value"), PERSONAL.items())
def test_each_kind_is_replaced_by_its_like(vault: Vault, kind: str, value: str):
    text = redact_text(f"it is {value}, thanks", Policy(), vault)
    assert value not in text and text.startswith("it is ") and text.endswith(", thanks")
    assert redact_text(f"it is {value}, thanks", Policy(), vault) == text, "the same value has the same surrogate"
    assert redact_text(text, Policy(), vault) == text, "a surrogate is left alone"
    assert [(one.kind, one.value) for one in vault.originals("-")] == [(kind, value)]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_stays(vault: Vault, text: str):
    assert redact_text(text, Policy(), vault) == text


@settings(max_examples=200)
@given(st.integers(0, 2**256 - 1))
def test_surrogates_keep_formats_and_checksums(number: int):
    digest = f"{number:064x}"
    checker = jsonschema.FormatChecker(["email", "date"])
    checker.check(surrogate("email", "a@b.co", digest), "email")
    checker.check(surrogate("date", "1990-04-05", digest), "date")
    card = surrogate("card", "4111-1111-1111-1111", digest)
    assert luhn(card.replace("-", "")) == 0 and len(card) == 19
    iban = surrogate("iban", "DE89 3704 0044 0532 0130 00", digest)
    assert iban_is_valid(iban) and kinds_in(f"it is {iban}, thanks") == [], "its digits are no card"
    assert surrogate("vin", "WBA-123x", digest)[3] == "-" and surrogate("vin", "WBA-123x", digest)[:3].isupper()


def test_the_vault_is_for_its_owner_and_an_erased_person_is_gone_from_it(vault: Vault):
    redact_text(PERSONAL["email"], Policy(), vault)
    for path in (vault.folder, *vault.folder.iterdir()):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert PERSONAL["email"].encode() not in b"".join(path.read_bytes() for path in vault.folder.iterdir())
    vault.destroy("-", at="now", reason="asked", counts="{}", by="Dana")
    assert vault.originals("-") == [] and vault.erased() == {"-"}
    assert Vault(vault.folder).principal_ref("p") == vault.principal_ref("p")


def frame(messages: list[dict], principal: str = "ref") -> pl.DataFrame:
    text = json.dumps(messages)
    asked = "\n".join(m["content"] for m in messages if m["role"] == "user")
    return pl.DataFrame({"messages": [text], "request": [asked], "feedback_comment": [None], "metadata": ["{}"], "signals": ["[]"],
                         "expected_actions": [None], "conversation_id": ["c"], "source_id": ["s"], "principal_ref": [principal]},
                        schema_overrides={"feedback_comment": pl.String, "expected_actions": pl.String})  # fmt: skip


def test_declared_fields_are_replaced_wherever_they_were_said(vault: Vault):
    tools = [{"function": {"name": "book", "parameters": {"properties": {"passengers": {"type": "array", "items": {
        "properties": {"last_name": {"type": "string", "x-pii": "person_name"}, "dob": {"type": "string", "x-pii": "date"}}}}}}}}]  # fmt: skip
    arguments = json.dumps({"passengers": [{"last_name": "Li", "dob": "1990-04-05"}]})
    messages = [{"role": "user", "content": "I am Mia Li, List my flights"},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "book", "arguments": arguments}}]},
                {"role": "tool", "tool_call_id": "c", "content": '{"born": "1990-04-05"}'}]  # fmt: skip
    done = redact_frame(frame(messages), policy_of(tools, kinds=()), vault)
    read = json.loads(done["messages"][0])
    passenger = json.loads(read[1]["tool_calls"][0]["function"]["arguments"])["passengers"][0]
    assert (
        passenger["last_name"] != "Li" and read[0]["content"] == f"I am Mia {passenger['last_name']}, List my flights"
    )
    assert json.loads(read[2]["content"])["born"] == passenger["dob"] != "1990-04-05"
    assert json.loads(done["redactions"][0]) == {"person_name": 1, "date": 1}
    assert {one.value for one in vault.originals("ref")} == {"Li", "1990-04-05"}


def names(texts: list[str]) -> list[list[tuple[str, str]]]:
    """A team's own detector, as Presidio would be plugged in."""
    return [[("person_name", "Rumpelstiltskin")] if "Rumpelstiltskin" in text else [] for text in texts]


def test_a_detector_of_the_teams_own(vault: Vault):
    messages = [{"role": "user", "content": "I am Rumpelstiltskin"}]
    done = redact_frame(frame(messages), Policy(kinds=(), detector=f"{__name__}:names"), vault)
    assert "Rumpelstiltskin" not in done["messages"][0] + done["request"][0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([*PERSONAL.values(), *HARMLESS, "and", "also,"]), min_size=1, max_size=12), st.booleans()
)
def test_no_original_survives_in_any_company(tmp_path_factory: pytest.TempPathFactory, words: list[str], nested: bool):
    vault = Vault(tmp_path_factory.mktemp("vault"))
    said = " | ".join(words)
    content = json.dumps({"note": said}) if nested else said
    text = redact_frame(frame([{"role": "user", "content": content}]), Policy(), vault)["messages"][0]
    assert not [value for value in PERSONAL.values() if value in text]
    assert all(word in text for word in words if word in HARMLESS)
    json.loads(text)
