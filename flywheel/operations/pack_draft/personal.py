"""Which arguments hold personal data? By the names of fields and by redaction's own patterns; in doubt they do."""

import re
from collections.abc import Iterator
from typing import Any

from flywheel.operations.pack_draft.evidence import Evidence
from flywheel.privacy.declared import texts_at
from flywheel.privacy.redaction import kinds_in
from flywheel.workflows.guesses import Guess

_PEOPLE = "first|last|middle|full|given|family|sur|maiden|customer|client|user|guest|passenger|traveler|traveller|patient|employee|contact|caller|holder|card_?holder|account_?holder|recipient|sender|person|owner|member"
# Field name in snake case -> kind of surrogate, see `privacy/surrogates.py`. The first that matches counts.
_NAMES = (
    ("person_name", rf"(?:.*_)?(?:{_PEOPLE})_?names?"),
    ("email", r"(?:.*_)?e_?mail(?:_?addr(?:ess)?)?"),
    ("phone", r"(?:.*_)?(?:phone|mobile|cell|telephone|fax|whatsapp)(?:_?(?:number|no|nr))?"),
    ("date", r"(?:.*_)?(?:dob|date_of_birth|birth_?(?:date|day))"),
    ("national_id", r"(?:.*_)?(?:ssn|social_security(?:_number)?|national_id|passport(?:_?(?:number|no|id))?|tax_?id|nif|dni|drivers?_licen[cs]e.*)"),
    ("card", r"(?:.*_)?(?:card_?(?:number|no)|pan)"),
    ("iban", r"(?:.*_)?iban"),
    ("secret", r"(?:.*_)?(?:password|passphrase|pin|token|api_?key|secret|cvv|cvc)"),
    ("address", r"(?:.*_)?(?:street|street_address|home_address|billing_address|shipping_address|postal_address|address|address_?(?:line_?)?[12])"),
    ("person_id", r"(?:user|customer|client|patient|employee|member|passenger|guest|person|account)_?id"),
)  # fmt: skip
_BARE_NAME = re.compile(r"[A-Z][\w'.-]+(?: [A-Z][\w'.-]+){1,3}")
_LOOKED_AT = 60
_TELLING_ID = re.compile(r".*[A-Za-z].*|.{6,}")  # a short number taken for an id would be replaced in every sentence


def draft_personal(evidence: Evidence, tools: dict[str, dict[str, Any]]) -> list[Guess]:
    """Mark personal fields with `x-pii` in the tools' schemas, in place, and return the guesses."""
    guesses = []
    for name, tool in tools.items():
        arguments = [call.arguments for call in evidence.by_tool.get(name, ()) if call.arguments]
        for keys, dotted, schema in _text_fields(tool["function"].get("parameters"), ("function", "parameters"), ()):
            if "x-pii" in schema:
                continue
            values = list(dict.fromkeys(value for one in arguments for value in texts_at(one, dotted)))[:_LOOKED_AT]
            kind, because = _kind(dotted[-1] if dotted[-1] != "*" else dotted[-2], values)
            if kind:
                schema["x-pii"] = kind
                guesses.append(
                    Guess(f"{name}.{'.'.join(dotted)}.x-pii", "tools.json", (name, *keys, "x-pii"), kind, True, because)
                )
    return guesses


def _kind(field: str, values: list[str]) -> tuple[str | None, str]:
    """The kind a field's name or values tell of, and why; values are never quoted."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", field).lower().replace("-", "_")
    kind = next((kind for kind, pattern in _NAMES if re.fullmatch(pattern, snake)), None)
    if kind == "person_id" and not all(_TELLING_ID.fullmatch(value) for value in values):
        kind = None
    if kind:
        return kind, f"by the field's name; {len(values)} different values seen"
    if snake == "name" and values and sum(bool(_BARE_NAME.fullmatch(value)) for value in values) * 2 > len(values):
        return "person_name", f"most of {len(values)} values look like the names of people"
    found = [kinds_in(value) for value in values]
    for other in ("secret", "email", "iban", "card", "national_id", "phone"):
        holding = sum(other in kinds for kinds in found)
        if holding and holding * 3 >= len(values):
            return other, f"{holding} of {len(values)} different values hold one"
    return None, ""


def _text_fields(
    schema: Any, keys: tuple[str, ...], dotted: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], dict]]:
    """Every place of a schema that takes text: its keys in the tool, its path in the arguments ("*": every element), the schema."""
    if not isinstance(schema, dict) or len(dotted) > 8:
        return
    kinds = schema.get("type")
    if dotted and (kinds == "string" or (isinstance(kinds, list) and "string" in kinds)):
        yield keys, dotted, schema
    for name, inner in (schema.get("properties") or {}).items():
        yield from _text_fields(inner, (*keys, "properties", name), (*dotted, name))
    if isinstance(schema.get("items"), dict) and dotted:
        yield from _text_fields(schema["items"], (*keys, "items"), (*dotted, "*"))
