"""The rules by number. A number keeps its meaning for ever; a rule that goes leaves its number unused."""

from typing import Any, NamedTuple


class Rule(NamedTuple):
    """One rule.

    Attributes:
        title: what it asks for.
        severity: critical, major or minor; minor findings refuse nothing.
        fix_hint: what the partner does about it.
    """

    title: str
    severity: str
    fix_hint: str


RULES = {
    "V01": Rule("every file has the hash, size and rows its manifest says", "critical",
                "send the file again unchanged, or write the manifest anew: python verify.pyz seal PART --batch BATCH"),
    "V02": Rule("the signature is that of the known key", "critical", "sign manifest.json with the key you registered"),
    "V03": Rule("every item belongs to the batch", "major", "remove the line: item ids come from items.jsonl"),
    "V04": Rule("a complete return has every item", "major",
                "correct it, list it in unfixable.jsonl, or say \"complete\": false"),
    "V05": Rule("the correction starts from the run that was handed out", "major",
                "copy base_sha256 from items.jsonl and correct that version"),
    "V06": Rule("the patch gives the resulting messages", "major", "send either the patch or resulting_messages, or make them agree"),
    "V07": Rule("every written call is valid against its tool's schema", "critical", "correct the argument as `expected` says"),
    "V08": Rule("calls and results pair up, in the right order of roles", "major",
                "give each call one result with its id, directly after it"),
    "V09": Rule("no personal data or secret that the run does not hold", "critical",
                "use only values that stand in the run"),
    "V10": Rule("nobody has two roles on one item", "critical", "let another person review it"),
    "V11": Rule("the guidelines of the batch were followed", "major", "work by the version in guidelines/ and name it"),
    "V12": Rule("the time is possible: 5 seconds to 4 hours, after the batch was made", "major",
                "send the times your tool recorded"),
    "V13": Rule("an item stands once in a part", "major", "keep the line that counts; a later part may replace it"),
    "V14": Rule("the run's own messages before the first wrong step are unchanged", "major",
                "leave everything before first_bad_message_index as it is"),
    "V15": Rule("every line is one JSON object of its schema", "major", "correct the line as schemas/ say"),
    "V16": Rule("file names stay inside the folder", "critical", "name files plainly, without links"),
    "V17": Rule("the return answers this batch", "critical", "copy the hash of the batch's manifest.json"),
    "V18": Rule("a complete return carries its attestation", "minor", "add attest.json"),
    "V19": Rule("the marked step was corrected, and only written steps are trainable", "major",
                "begin trainable_indices with the corrected assistant step"),
    "V20": Rule("the part has a readable manifest", "critical", "write it: python verify.pyz seal PART --batch BATCH"),
    "V21": Rule("the partner's own reviewer let it pass", "major", "correct it again and have it reviewed"),
    "V22": Rule("a form's text fits the argument's type", "major", "write the value as `expected` says"),
    "V23": Rule("the item was not called back", "major", "delete it; nothing of it is taken"),
    "V24": Rule("every written answer that must be structured is JSON of its schema", "critical",
                "answer with one JSON object as responses.json says, nothing around it"),
}  # fmt: skip


def finding(
    rule: str,
    *,
    item: str | None = None,
    part: str = "",
    path: str = "",
    got: str = "",
    expected: str = "",
    billable: bool = False,
) -> dict[str, Any]:
    """One finding as it stands in rejection.json.

    Args:
        item: item id; None for a finding about the whole part.
        path: file and line, or place inside the correction.
        billable: the work counts although it is refused, because the fault is not the partner's.
    """
    known = RULES[rule]
    return {"rule_id": rule, "class": known.severity, "item_id": item, "part": part, "path": path, "got": got[:300],
            "expected": (expected or known.title)[:300], "fix_hint": known.fix_hint, "billable": billable}  # fmt: skip
