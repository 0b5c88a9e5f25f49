"""The command: `python verify.pyz RETURN --batch BATCH`, and `seal`, which writes the manifest of a part.

Exit codes: 0 everything is accepted, 1 some items or parts are refused, 3 the whole return is refused, 2 nothing could be
judged (the batch is damaged or not signed by the expected key, or the command is wrong).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from . import RETURN_SCHEMA
from .batch import Batch, BatchProblem, load_batch
from .folder import lines, write
from .judge import Verdict, judge
from .strict import pretty, sha256

CODES = {"accepted": 0, "accepted_in_part": 1, "rejected": 3}
NOTHING_JUDGED = 2
_FILES = ("corrections.jsonl", "decisions.jsonl", "unfixable.jsonl", "questions.jsonl", "attest.json")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _seal(arguments[1:]) if arguments[:1] == ["seal"] else _verify(arguments)
    except BatchProblem as problem:
        print(f"the batch cannot be used: {problem}", file=sys.stderr)
        return NOTHING_JUDGED


def verify_folder(returned: Path, batch: Batch, out: Path | None = None) -> Verdict:
    """Judge a return and write acceptance.json or rejection.json into it (or into `out`); the other file goes."""
    verdict = judge(returned, batch)
    accepted = verdict.report["verdict"] == "accepted"
    target = out or returned
    (target / ("rejection.json" if accepted else "acceptance.json")).unlink(missing_ok=True)
    write(target, "acceptance.json" if accepted else "rejection.json", pretty(verdict.report))
    return verdict


def seal(part: Path, batch: Batch, number: int, complete: bool) -> dict[str, Any]:
    """Write manifest.json of a part from the files that lie in it; returns it."""
    files = {}
    for name in _FILES:
        if (part / name).is_file():
            data = (part / name).read_bytes()
            rows = len(lines(data)) if name.endswith(".jsonl") else None
            files[name] = {"sha256": sha256(data), "bytes": len(data), "rows": rows}
    manifest = {"schema_version": RETURN_SCHEMA, "batch_id": batch.manifest["batch_id"], "parent_batch_sha256": batch.sha256,
                "part": number, "complete": complete, "files": files}  # fmt: skip
    write(part, "manifest.json", pretty(manifest))
    return manifest


def summary(verdict: Verdict) -> str:
    """The report in a few lines for a terminal."""
    report = verdict.report
    counts = report["counts"]
    said = [f"{report['verdict']}: {counts['accepted']} of {counts['items']} items accepted, {counts['refused']} refused, "
            f"{counts['open']} open"]  # fmt: skip
    said += report["reasons"]
    said += [
        f"  {rule['rule_id']} x {rule['findings']}: {rule['title']}\n      -> {rule['fix_hint']}"
        for rule in report["top_rules"]
    ]
    said += [report["systematic"]] if report["systematic"] else []
    said.append(f"details: {'acceptance' if report['verdict'] == 'accepted' else 'rejection'}.json")
    return "\n".join(said)


def _verify(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="verify.pyz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("returned", type=Path, help="a part, or the folder with all part-NNN folders")
    parser.add_argument("--batch", type=Path, required=True, help="the batch as it was handed out")
    parser.add_argument("--fingerprint", help="of the key the batch must be signed with, as you were told it")
    parser.add_argument("--out", type=Path, help="folder for the report instead of the return itself")
    given = parser.parse_args(arguments)
    if not given.returned.is_dir():
        print(f"there is no folder {given.returned}", file=sys.stderr)
        return NOTHING_JUDGED
    verdict = verify_folder(given.returned, load_batch(given.batch, given.fingerprint), given.out)
    print(summary(verdict))
    return CODES[verdict.report["verdict"]]


def _seal(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="verify.pyz seal", description="Write manifest.json of a part.")
    parser.add_argument("part", type=Path, help="folder part-NNN with corrections.jsonl and the others")
    parser.add_argument("--batch", type=Path, required=True)
    parser.add_argument("--number", type=int, required=True, help="1, 2, 3 ...")
    parser.add_argument("--complete", action="store_true", help="nothing is missing now")
    given = parser.parse_args(arguments)
    if not given.part.is_dir():
        print(f"there is no folder {given.part}", file=sys.stderr)
        return NOTHING_JUDGED
    manifest = seal(given.part, load_batch(given.batch), given.number, given.complete)
    print(f"sealed {len(manifest['files'])} files")
    return 0
