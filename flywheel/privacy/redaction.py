"""Redaction: what identifies a person is replaced before anything is stored, logged or shown.

In this order: fields the tools declare (`x-pii` in tools.json), patterns with their checksums, and a detector of the team's own
(`privacy.detector: module:function`, the place for Presidio). Patterns run in polars' regex engine over whole columns; Python
sees only what matched. Originals go to the vault.
"""

import importlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import polars as pl

from flywheel.chat.messages import Message, messages_from_json
from flywheel.errors import FlywheelError
from flywheel.privacy.declared import Fields, declared_fields, declared_values, values_at
from flywheel.privacy.escapes import ESCAPE, SPELT, apart, apart_in, read_spelt, spellings, together, unescaped
from flywheel.privacy.surrogates import DOMAIN, iban_is_valid, luhn, surrogate
from flywheel.privacy.swaps import Swapper
from flywheel.privacy.vault import UNKNOWN, Original, Vault

KINDS = ("secret", "email", "iban", "card", "national_id", "phone")
_TEXTS = (
    "messages",
    "request",
    "feedback_comment",
    "metadata",
    "signals",
    "expected_actions",
    "conversation_id",
    "source_id",
)
# What joins runs is the same in all of them: one run's declared values say nothing of the others', while patterns find the same in each.
_IDS = ("conversation_id", "source_id")
_RECORDS = ("signals", "expected_actions")
# Rust regular expressions: linear time, no lookaround. What they find is checked below.
_PATTERNS = {
    "secret": r"\b(?:sk-[A-Za-z0-9_\-]{20,}|gh[pousr]_[A-Za-z0-9]{36,}|AKIA[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9\-]{10,}|AIza[0-9A-Za-z_\-]{35}"
    r"|hf_[A-Za-z0-9]{30,}|eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{5,})|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----",
    "email": r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}",
    "iban": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "card": r"\b(?:\d{13,19}|\d{4}(?:[ \-]\d{4}){2,3}(?:[ \-]\d{1,4})?|\d{4}[ \-]\d{6}[ \-]\d{5})\b",
    "national_id": r"\b(?:\d{3}-\d{2}-\d{4}|\d{8}[A-Z])\b",
    "phone": r"\+\d{1,3}(?:[ .\-]?\(?\d{2,4}\)?){2,5}|\(\d{3}\) ?\d{3}[ .\-]\d{4}\b|\b\d{3}[ .\-]\d{3}[ .\-]\d{4}\b",
}
# The same without \b: they find all of that and more, much faster in text with accents, and whatever an escape stands before.
# Only where they find something are the escapes set apart and the patterns asked.
_LIKELY = {kind: pattern.replace(r"\b", "") for kind, pattern in _PATTERNS.items()}
# One cheap pass that most text without personal data does not survive.
_SUSPECT = (
    rf"@|\d{{3}}[ .\-)]\(?\d{{2,3}}|\d{{4}} \d{{4}}|\d{{8}}|\+\d|(?:{ESCAPE}|(?-u:\b))[A-Z]{{2}}\d{{2}}[ A-Z0-9]"
    rf"|sk-|gh[pousr]_|AKIA|xox|AIza|hf_|eyJ|PRIVATE KEY|{SPELT}"
)


class Policy(NamedTuple):
    """What is redacted in a workflow.

    Attributes:
        kinds: the patterns in force, of KINDS.
        fields: tool -> its argument paths and their kinds, from `x-pii`; a path's "*" stands for every list element.
        detector: `module:function` from texts to lists of (kind, value), or None.
    """

    kinds: tuple[str, ...] = KINDS
    fields: tuple[tuple[str, Fields], ...] = ()
    detector: str | None = None


def policy_of(tools: list[dict[str, Any]], kinds: tuple[str, ...] = KINDS, detector: str | None = None) -> Policy:
    """The policy of a pack: patterns, and every property that says `x-pii`."""
    fields = ((tool["function"]["name"], declared_fields(tool)) for tool in tools)
    return Policy(tuple(kind for kind in KINDS if kind in kinds), tuple(one for one in fields if one[1]), detector)


def redact_frame(frame: pl.DataFrame, policy: Policy, vault: Vault) -> pl.DataFrame:
    """The frame with surrogates in its text columns and a `redactions` column: JSON object of kind to number of values.

    Needs `principal_ref` and the columns of _TEXTS; changes nothing else.
    """
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    originals: dict[tuple[str, str], Original] = {}
    owners = frame["principal_ref"].to_list() if policy.kinds or policy.fields or policy.detector else []
    if policy.fields:
        frame = _redact_fields(frame, policy, vault, owners, counts, originals)
    if policy.detector:
        frame = _redact_detected(frame, policy.detector, vault, owners, counts, originals)
    if policy.kinds:
        columns = []
        for name in _TEXTS:
            if frame[name].null_count() < frame.height:
                columns.append(_redact_column(frame[name], policy.kinds, vault, owners, counts, originals))
        frame = frame.with_columns(columns)
    vault.keep(originals.values())
    told = [json.dumps(dict(counts[row])) if row in counts else "{}" for row in range(frame.height)]
    return frame.with_columns(pl.Series("redactions", told, dtype=pl.String))


def redact_text(text: str, policy: Policy, vault: Vault) -> str:
    """One text with surrogates; its originals belong to nobody known."""
    originals: dict[tuple[str, str], Original] = {}
    column = _redact_column(pl.Series("text", [text]), policy.kinds, vault, [None], defaultdict(Counter), originals)
    vault.keep(originals.values())
    return column.item()


def kinds_in(text: str, kinds: tuple[str, ...] = KINDS) -> list[str]:
    """The kinds of personal data that a text holds; surrogates are none."""
    column = pl.Series([read_spelt(apart_in(text))])
    found = {kind: column.str.extract_all(_PATTERNS[kind]).explode().drop_nulls() for kind in kinds}
    return [kind for kind, values in found.items() if any(_CHECKS[kind](value) for value in values)]


def _redact_column(
    texts: pl.Series, kinds: tuple[str, ...], vault: Vault, owners: list[str | None], counts: dict[int, Counter[str]],
    originals: dict[tuple[str, str], Original],
) -> pl.Series:  # fmt: skip
    suspects = texts.str.contains(_SUSPECT).fill_null(False)
    if not suspects.any():
        return texts
    rows = suspects.arg_true()
    likely = _read(texts.gather(rows)).str.contains("|".join(_LIKELY[kind] for kind in kinds))
    rows = rows.filter(likely)
    if not len(rows):
        return texts
    numbers = rows.to_list()
    part = apart(texts.gather(rows))
    spelt = set(part.str.contains(SPELT).arg_true())
    for kind in kinds:
        found = _found(part, kind)
        swaps: dict[str, str] = {}
        written: dict[str, str] = {}
        for place, raw in found:
            value = unescaped(raw)
            swap = swaps.get(value)
            if swap is None:
                swap = swaps[value] = (
                    surrogate(kind, value, vault.digest(kind, value)) if _CHECKS[kind](value) else value
                )
            if swap == value:
                continue
            row = numbers[place]
            if texts.name != "request":  # the request is made of messages that were counted
                counts[row][kind] += 1
            owner = owners[row] or UNKNOWN
            originals.setdefault((owner, swap), Original(owner, kind, swap, value))
            written[raw] = swap
            if place in spelt:
                written.update(dict.fromkeys(spellings(value, part[place]), swap))
        if written:
            longest = sorted(written, key=len, reverse=True)  # of those that begin alike the first in the list counts
            places = pl.Series(list({place for place, _ in found}), dtype=pl.UInt32)
            changed = part.gather(places).str.replace_many(longest, [written[one] for one in longest], leftmost=True)
            part = part.scatter(places, changed)
    return texts.scatter(rows, together(part))


def _found(texts: pl.Series, kind: str) -> list[tuple[int, str]]:
    """Place and text of everything in the texts that looks like the kind."""
    read = _read(texts)
    places = read.str.contains(_LIKELY[kind]).arg_true()
    if not len(places):
        return []
    found = read.gather(places).str.extract_all(_PATTERNS[kind])
    return [(place, one) for place, several in zip(places.to_list(), found.to_list(), strict=True) for one in several]


def _read(texts: pl.Series) -> pl.Series:
    """The texts as the patterns read them: with the characters that are written as numbers."""
    spelt = texts.str.contains(SPELT).arg_true()
    if not len(spelt):
        return texts
    return texts.clone().scatter(spelt, [read_spelt(text) for text in texts.gather(spelt)])


def _redact_fields(
    frame: pl.DataFrame, policy: Policy, vault: Vault, owners: list[str | None], counts: dict[int, Counter[str]],
    originals: dict[tuple[str, str], Original],
) -> pl.DataFrame:  # fmt: skip
    """Values of declared fields, replaced wherever they stand in the run: what was asked, what was answered, what was called."""
    fields = dict(policy.fields)

    def declared(messages: list[Message], gold: str | None) -> Iterator[tuple[str, str]]:
        yield from declared_values(messages, fields)
        for action in json.loads(gold) if gold else []:
            yield from values_at(action["arguments"], fields.get(action["name"], ()))

    return _redact_known(frame, declared, vault, owners, counts, originals)


def _redact_detected(
    frame: pl.DataFrame, name: str, vault: Vault, owners: list[str | None], counts: dict[int, Counter[str]],
    originals: dict[tuple[str, str], Original],
) -> pl.DataFrame:  # fmt: skip
    detect = _detector(name)

    def detected(messages: list[Message], gold: str | None) -> Iterator[tuple[str, str]]:
        for found in detect([message.content for message in messages if message.content]):
            yield from ((value, kind) for kind, value in found)

    return _redact_known(frame, detected, vault, owners, counts, originals)


def _redact_known(
    frame: pl.DataFrame, known: Callable[[list[Message], str | None], Iterable[tuple[str, str]]], vault: Vault,
    owners: list[str | None], counts: dict[int, Counter[str]], originals: dict[tuple[str, str], Original],
) -> pl.DataFrame:  # fmt: skip
    """The frame with what `known` tells of each run's messages and expected actions replaced in all its texts but the ids."""
    columns = {name: frame[name].to_list() for name in _TEXTS if name not in _IDS}
    for row, text in enumerate(columns["messages"]):
        messages = messages_from_json(text)
        told = known(messages, columns["expected_actions"][row])
        values = {value: kind for value, kind in told if len(value) > 1 and any(map(str.isalnum, value))}
        if not values:
            continue
        swaps = {value: surrogate(kind, value, vault.digest(kind, value)) for value, kind in values.items()}
        _keep(swaps, values, row, owners, counts, originals)
        swapper = Swapper(swaps)
        for name, texts in columns.items():
            if name == "messages":
                texts[row] = swapper.messages(messages)
            elif texts[row]:
                texts[row] = swapper.record(texts[row]) if name in _RECORDS else swapper.text(texts[row])
    return frame.with_columns(pl.Series(name, texts, dtype=pl.String) for name, texts in columns.items())


def _detector(name: str) -> Callable[[list[str]], list[list[tuple[str, str]]]]:
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise FlywheelError(f"the detector {name!r} cannot be loaded: {error}", where="workflow.yaml, privacy.detector",
                            remedy="name module:function on the Python path, or remove it") from None  # fmt: skip


def _keep(
    swaps: dict[str, str], kinds: dict[str, str], row: int, owners: list[str | None], counts: dict[int, Counter[str]],
    originals: dict[tuple[str, str], Original],
) -> None:  # fmt: skip
    owner = owners[row] or UNKNOWN
    for value, swap in swaps.items():
        counts[row][kinds[value]] += 1
        originals.setdefault((owner, swap), Original(owner, kinds[value], swap, value))


def _is_card(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    # A bare number counts as a card only with a card's first digits: order numbers pass Luhn one time in ten.
    return 13 <= len(digits) <= 19 and digits[0] in "23456" and luhn(digits) == 0 and len(set(digits)) > 1


def _is_national_id(value: str) -> bool:
    if "-" in value:
        area, group, serial = value.split("-")
        return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(value[:8]) % 23] == value[8]


def _is_phone(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    return 8 <= len(digits) <= 15 and not digits.startswith("55501")


_CHECKS: dict[str, Callable[[str], bool]] = {
    "secret": lambda value: True,
    "email": lambda value: not value.endswith(f"@{DOMAIN}"),
    "iban": lambda value: not value.startswith("ZZ") and iban_is_valid(value),
    "card": _is_card,
    "national_id": _is_national_id,
    "phone": _is_phone,
}  # fmt: skip
