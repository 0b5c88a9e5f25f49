"""Redaction: what is personal goes, what is not stays, formats hold, and originals are only in the vault."""

import json
import stat
from collections.abc import Iterable
from pathlib import Path

import jsonschema
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.privacy.redaction import Policy, kinds_in, policy_of, redact_frame, redact_text
from flywheel.privacy.surrogates import iban_is_valid, luhn, surrogate
from flywheel.privacy.vault import Original, Vault

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


class Remembering(Vault):
    """A vault that writes nothing: hundreds of examples would wait for the disk."""

    kept: list[Original] = []

    def keep(self, originals: Iterable[Original]) -> None:
        self.kept = list(originals)


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Remembering:
    return Remembering(tmp_path_factory.mktemp("vault"))


BETWEEN = (" | ", "\n", "\t", "\r\n", '"', "\f", "\\", "\u2028", " \u00e9 ")


def told(said: str, how: str) -> list[dict]:
    """A message that says it: as it is, in JSON, in JSON in JSON, or in a call's arguments."""
    if how == "call":
        call = {"id": "c", "type": "function", "function": {"name": "note", "arguments": json.dumps({"note": said})}}
        return [{"role": "assistant", "content": None, "tool_calls": [call]}]
    for _ in range(("plain", "nested", "twice").index(how)):
        said = json.dumps({"note": said})
    return [{"role": "user", "content": said}]


def said_in(message: dict, how: str) -> str:
    text = message["tool_calls"][0]["function"]["arguments"] if how == "call" else message["content"]
    while text.startswith("{"):
        text = json.loads(text)["note"]
    return text


@settings(max_examples=100, deadline=None)
@given(
    words=st.lists(st.sampled_from([*PERSONAL.values(), *HARMLESS, "and", "also,"]), min_size=1, max_size=12),
    between=st.sampled_from(BETWEEN),
    how=st.sampled_from(["plain", "nested", "twice", "call"]),
)
def test_no_original_survives_in_any_company(remembering: Remembering, words: list[str], between: str, how: str):
    text = redact_frame(frame(told(between.join(words), how)), Policy(), remembering)["messages"][0]
    assert not [value for value in PERSONAL.values() if value in text]
    swaps = {one.value: one.surrogate for one in remembering.kept}
    assert set(swaps) == set(words) & set(PERSONAL.values()), "the vault holds the very value that was said"
    assert said_in(json.loads(text)[0], how) == between.join(swaps.get(word, word) for word in words)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=6), st.sampled_from(["\\n", "\\u00e9", "\n\x1f", "\x1f", "\ue000", "\\\\", "\\u0041"])), max_size=8),
    st.sampled_from(["plain", "nested", "call"]),
)  # fmt: skip
def test_what_is_around_a_value_survives_byte_for_byte(remembering: Remembering, around: list[str], how: str):
    said = told(f"{''.join(around)}\n{PERSONAL['email']} ", how)
    done = redact_frame(frame(said), Policy(kinds=("email",)), remembering)["messages"][0]
    [original] = remembering.kept
    assert done == json.dumps(said).replace(PERSONAL["email"], original.surrogate)


@pytest.mark.parametrize(
    "spelt", [r"\u002B49 30 901820 11", r"\\u002b49 30 901820 11", r"\u002B\u0034\u0039 30 901820\u002011"]
)
def test_characters_written_as_numbers_hide_nothing(vault: Vault, spelt: str):
    """.NET writes a plus so."""
    text = redact_text(f'{{"phone": "{spelt}", "name": "O\\u0027Brien"}}', Policy(), vault)
    [original] = vault.originals("-")
    assert original.value == PERSONAL["phone"]
    assert text == f'{{"phone": "{original.surrogate}", "name": "O\\u0027Brien"}}'


def test_a_private_key_is_one_secret_however_deep_it_lies(vault: Vault):
    key = "-----BEGIN PRIVATE KEY-----\nMIIE+abc/def\n-----END PRIVATE KEY-----"
    texts = [key, json.dumps(key), json.dumps(json.dumps(key)), json.dumps(key).replace("+", r"\u002B")]
    done = [redact_text(text, Policy(), vault) for text in texts]
    [original] = vault.originals("-")
    assert original.value == key
    short = original.surrogate
    assert done == [short, json.dumps(short), json.dumps(json.dumps(short)), json.dumps(short)]


def test_accents_beside_a_value_change_nothing(vault: Vault):
    assert redact_text("é12345678Z", Policy(), vault) == "é12345678Z", "a letter before it: no national id"
    assert "12345678Z" not in redact_text("é 12345678Z", Policy(), vault)


def test_what_would_leave_is_searched_behind_line_breaks():
    for value in (*PERSONAL.values(), "12345678Z"):
        assert kinds_in(json.dumps({"content": f"it is:\n{value}"})), value
