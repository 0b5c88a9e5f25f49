"""The verdict over a return: every part read, every line judged, and one report that both sides compute byte for byte.

An item is refused by itself. A part is refused as a whole only when it cannot be trusted (changed, unsigned, of another
batch); everything is refused only when more items have a critical finding than the batch's QA plan allows.
"""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from . import VERDICT_SCHEMA, VERSION
from .batch import Batch
from .correction import judge_correction, judge_work
from .part import Line, Part, read_part
from .personal import added, masked, texts_of
from .rules import RULES, finding
from .strict import sha256_of


class Answer(NamedTuple):
    """What came back for one item: a correction or an unfixable, and the decisions of the partner's reviewers about it.

    Attributes:
        kind: correction or unfixable.
        digest: hash of the line's content, which makes importing it twice nothing.
        part, place: where it stands.
        decisions: of this answer, in order.
        roles: person -> roles they ever took on the item, in earlier parts too, for the separation of duties.
    """

    item_id: str
    kind: str
    row: dict[str, Any]
    digest: str
    part: str
    place: str
    decisions: list[dict[str, Any]]
    roles: dict[str, set[str]]


class Verdict(NamedTuple):
    """The report as it is written, the answers that may be imported, all that were read (by item), and what was asked."""

    report: dict[str, Any]
    accepted: list[Answer]
    answers: dict[str, Answer]
    questions: list[dict[str, Any]]


def judge(folder: Path, batch: Batch) -> Verdict:
    """Judge a part, or a folder of parts, against a proved batch. Never raises for what is in the return."""
    parts = _parts(folder, batch)
    findings = [one for part in parts for one in part.findings]
    answers = _answers(parts, batch, findings)
    findings = _still_standing(findings, parts, answers)
    for answer in answers.values():
        findings += _judged(answer, batch)
    findings += _whole(parts, answers, batch, findings)
    questions = _questions(parts, batch, findings)
    findings.sort(key=_order)
    refused = {one["item_id"] for one in findings if one["item_id"] and one["class"] != "minor"}
    accepted = [answers[item] for item in batch.items if item in answers and item not in refused]
    critical = {one["item_id"] for one in findings if one["item_id"] and one["class"] == "critical"}
    limit = batch.manifest["qa_plan"]["critical_items_allowed"]
    reasons = (
        [f"{len(critical)} items have a critical finding; the plan allows {limit}"] if len(critical) > limit else []
    )
    trusted = [part for part in parts if not _distrusted(part)]
    if not trusted:
        reasons.append("no part of the return can be trusted")
    if reasons:
        accepted = []
    return Verdict(_report(batch, parts, answers, findings, accepted, reasons), accepted, answers, questions)


def _order(one: dict[str, Any]) -> tuple[str, ...]:
    return one["part"], one["item_id"] or "", one["rule_id"], one["path"], one["got"], one["expected"]


def _distrusted(part: Part) -> bool:
    return any(one["class"] == "critical" and one["item_id"] is None for one in part.findings)


def _parts(folder: Path, batch: Batch) -> list[Part]:
    inner = sorted(
        path for path in folder.iterdir() if path.name.startswith("part-") and path.is_dir() and not path.is_symlink()
    )
    if (folder / "manifest.json").exists() or not inner:
        return [read_part(folder, batch)]
    parts = sorted((read_part(path, batch, path.name) for path in inner), key=lambda part: (part.number, part.name))
    for first, second in zip(parts, parts[1:], strict=False):
        if first.number == second.number and not _distrusted(first) and not _distrusted(second):
            second.findings.append(finding("V20", part=second.name, path="manifest.json/part", got=f"{second.number} a second time",
                                           expected="a number of its own for each part"))  # fmt: skip
            for lines in second.lines.values():
                lines.clear()
    return parts


def _answers(parts: list[Part], batch: Batch, findings: list[dict[str, Any]]) -> dict[str, Answer]:
    """The live answer for each item: a later part replaces an earlier one, twice in one part is refused."""
    answers: dict[str, Answer] = {}
    made: list[tuple[str, Line]] = []
    for part in parts:
        seen: set[str] = set()
        for kind in ("correction", "unfixable"):
            for line in part.lines[kind]:
                item = line.row["item_id"]
                if item not in batch.items:
                    findings.append(finding("V03", item=item, part=part.name, path=line.place, got=item))
                elif item in seen:
                    findings.append(
                        finding("V13", item=item, part=part.name, path=line.place, got=f"{item} a second time")
                    )
                else:
                    seen.add(item)
                    roles = answers[item].roles if item in answers else {}
                    roles.setdefault(line.row["actor_ref"], set()).add("annotator")
                    answers[item] = Answer(item, kind, line.row, sha256_of(line.row), part.name, line.place, [], roles)
        made += [(part.name, line) for line in part.lines["decision"]]
    for part_name, line in made:
        item = line.row["item_id"]
        if item not in batch.items:
            findings.append(finding("V03", item=item, part=part_name, path=line.place, got=item))
        elif item in answers:
            answer = answers[item]
            answer.roles.setdefault(line.row["actor_ref"], set()).add(line.row["role"])
            about = line.row.get("answer_sha256")
            if about == answer.digest or (about is None and part_name == answer.part):
                answer.decisions.append(line.row)
    return answers


def _still_standing(
    findings: list[dict[str, Any]], parts: list[Part], answers: dict[str, Answer]
) -> list[dict[str, Any]]:
    """Without what was said of a line whose item a later part answers anew."""
    number = {part.name: part.number for part in parts}
    return [
        one
        for one in findings
        if one["item_id"] not in answers or number[one["part"]] >= number[answers[one["item_id"]].part]
    ]


def _judged(answer: Answer, batch: Batch) -> list[dict[str, Any]]:
    item = batch.items[answer.item_id]
    if answer.kind == "correction":
        found = list(judge_correction(answer.row, item, batch))
    else:
        found = list(judge_work(answer.row, item, batch))
    notes = [answer.row.get("note", "")]
    for decision in answer.decisions:
        notes += [decision.get("note", ""), *decision.get("reason_codes", [])]
    for kind, value in added(notes, texts_of(item.messages)):
        found.append(finding("V09", path="note", got=masked(kind, value), expected="nothing the run does not hold"))
    found += _roles(answer)
    if answer.decisions and answer.decisions[-1]["verdict"] == "return":
        found.append(finding("V21", path="decisions.jsonl", got="return", expected="accept or dispute"))
    return [
        {**one, "item_id": answer.item_id, "part": answer.part, "path": f"{answer.place} {one['path']}"}
        for one in found
    ]


def _roles(answer: Answer) -> list[dict[str, Any]]:
    """Whoever answers or decides now must have had one role on the item from the first part on."""
    acting = {answer.row["actor_ref"], *(decision["actor_ref"] for decision in answer.decisions)}
    return [
        finding(
            "V10",
            path="actor_ref",
            got=f"{actor}: {', '.join(sorted(held))}",
            expected="one role for each person on an item",
        )
        for actor, held in sorted(answer.roles.items())
        if len(held) > 1 and actor in acting
    ]


def _whole(
    parts: list[Part], answers: dict[str, Answer], batch: Batch, findings: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What only the whole return can show: missing items and the attestation, once a part says that it is complete."""
    last = next((part for part in parts if part.complete and not _distrusted(part)), None)
    if last is None:
        return []
    spoken = {one["item_id"] for one in findings}  # an unreadable line is answered already
    found = [
        finding("V04", item=item, part=last.name, path="manifest.json/complete", got="no line for it")
        for item in batch.items
        if item not in answers and item not in spoken and item not in batch.letters.recalled
    ]
    if not any(part.attested for part in parts):
        found.append(finding("V18", part=last.name, path="attest.json", got="missing or not of its schema"))
    return found


def _questions(parts: list[Part], batch: Batch, findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the partner asks; a question with personal data, or about a strange item, is not taken, and refuses nothing else."""
    asked = []
    for part in parts:
        for line in part.lines["question"]:
            item = batch.items.get(line.row["item_id"] or "")
            known = texts_of(item.messages) if item else []
            wrong = [
                finding("V09", part=part.name, path=line.place, got=masked(*hit))
                for hit in added([line.row["text"]], known)
            ]
            if line.row["item_id"] is not None and item is None:
                wrong.append(finding("V03", part=part.name, path=line.place, got=line.row["item_id"]))
            findings += [{**one, "class": "minor"} for one in wrong]
            asked += [] if wrong else [line.row]
    return asked


def _report(
    batch: Batch, parts: list[Part], answers: dict[str, Answer], findings: list[dict[str, Any]], accepted: list[Answer],
    reasons: list[str],
) -> dict[str, Any]:  # fmt: skip
    refusing = [one for one in findings if one["class"] != "minor"]
    rules = Counter(one["rule_id"] for one in refusing)
    top = [{"rule_id": rule, "findings": count, "title": RULES[rule].title, "fix_hint": RULES[rule].fix_hint}
           for rule, count in sorted(rules.items(), key=lambda pair: (-pair[1], RULES[pair[0]].severity, pair[0]))[:5]]  # fmt: skip
    refused = {one["item_id"] for one in refusing if one["item_id"] in batch.items}
    return {
        "schema_version": VERDICT_SCHEMA,
        "verify_version": VERSION,
        "batch_id": batch.manifest["batch_id"],
        "batch_sha256": batch.sha256,
        "verdict": "rejected" if reasons else "accepted_in_part" if refusing else "accepted",
        "reasons": reasons,
        "resubmit_by": batch.manifest["due_at"],
        "qa_plan": batch.manifest["qa_plan"],
        "parts": [{"part": part.name, "number": part.number, "sha256": part.sha256, "complete": part.complete,
                   "verdict": "rejected" if _distrusted(part) or reasons else "read"} for part in parts],
        "counts": {"items": len(batch.items), "answered": len(answers), "accepted": len(accepted), "refused": len(refused),
                   "open": len(set(batch.items) - set(answers) - refused - set(batch.letters.recalled)),
                   "recalled": len(set(batch.items) & set(batch.letters.recalled))},
        "letters": {"read": len(batch.letters.all), "last_sha256": batch.letters.head},
        "accepted_items": [answer.item_id for answer in accepted],
        "findings": findings,
        "top_rules": top,
        "systematic": _systematic(top, len(refusing)),
    }  # fmt: skip


def _systematic(top: list[dict[str, Any]], total: int) -> str | None:
    """One sentence when most findings have one cause: then one mended cause mends most of the return."""
    if top and total >= 5 and top[0]["findings"] * 2 > total:
        return f"{top[0]['findings']} of {total} findings break {top[0]['rule_id']}: {top[0]['fix_hint']}"
    return None
