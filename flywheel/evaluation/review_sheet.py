"""The sheet a person fills in: one HTML file with the keyboard, or the JSONL lines it saves; and reading those back.

A sheet shows the conversation and what the model did, and behind a key what the case expects. It says nothing of arm, adapter,
score or model. The page loads nothing, sends nothing and works from the file system.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from flywheel.benchmark.cases import Case
from flywheel.chat.visible import visible
from flywheel.errors import FlywheelError
from flywheel.privacy.redaction import kinds_in
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.pack import Pack

_PAGE = Path(__file__).with_name("review_sheet.html")
_NAME = re.compile(r"[\w][\w .@-]{0,79}")
LONGEST_FILE = 20_000_000


class Rating(BaseModel):
    """One line of a filled sheet. Lines without a verdict are skipped."""

    model_config = ConfigDict(extra="forbid")

    workflow: str
    week: str
    output_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    case_id: str
    epoch: int = Field(ge=0)
    verdict: Literal["pass", "fail", "unsure"] | None
    comment: str = Field(default="", max_length=2_000)
    saw_expectation: bool = False
    rated_at: AwareDatetime | None = None
    where: str = ""  # file and line, filled in by the reader


def sheet_lines(sheet: pl.DataFrame, pack: Pack, week: str) -> list[dict[str, Any]]:
    """The lines of an empty sheet, ready to be written as JSONL."""
    return [
        {
            "workflow": pack.name, "week": week, "output_id": row["output_id"], "case_id": row["case_id"], "epoch": row["epoch"],
            "verdict": None, "comment": "", "saw_expectation": False, "rated_at": None,
        }
        for row in sheet.iter_rows(named=True)
    ]  # fmt: skip


def sheet_page(sheet: pl.DataFrame, cases: Mapping[str, Case], pack: Pack, week: str, *, name: str) -> str:
    """The sheet as one HTML page: conversation, what the model did, and the keys to judge it by."""
    items = []
    for line, row in zip(sheet_lines(sheet, pack, week), sheet.iter_rows(named=True), strict=True):
        case, transcript = cases[row["case_id"]], json.loads(row["transcript"])
        start = len(case.messages)
        items.append(
            {
                "line": line,
                "before": [_shown(message) for message in transcript[:start]],
                "after": [_shown(message) for message in transcript[start:]],
                "expects": visible(json.dumps(case.expectation.model_dump(mode="json"), indent=2, ensure_ascii=False)),
            }
        )  # fmt: skip
    data = {
        "name": name, "key": sha256_of([pack.name, week, name, [item["line"]["output_id"] for item in items]])[:16],
        "title": f"{pack.name}, week of {week}", "system": visible(pack.system), "guidelines": visible(pack.guidelines), "items": items,
    }  # fmt: skip
    # "<" never stands in the data, so that no text of a run can end the script element.
    embedded = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    page = _PAGE.read_text(encoding="utf-8")
    script = page.split("<script>", 1)[1].split("</script>", 1)[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    return (
        page.replace("__POLICY__", policy)
        .replace("__TITLE__", html.escape(data["title"]))
        .replace("__DATA__", embedded)
    )


def _shown(message: Mapping[str, Any]) -> dict[str, str]:
    """A message as the page shows it: who, and what as text."""
    calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in message.get("tool_calls") or []]
    text = "\n".join([str(message.get("content") or ""), *calls]).strip()
    return {"role": message["role"], "text": visible(text) or "(nothing)"}


def checked_rater(name: str) -> str:
    """The name of a person, or FlywheelError."""
    if not _NAME.fullmatch(name.strip()):
        raise FlywheelError(f"{name!r} is no name", where="--by", remedy="write the name of the person who judged")
    return name.strip()


def read_sheet(file: Path) -> list[Rating]:
    """The lines of a filled sheet that carry a verdict.

    Raises FlywheelError naming file and line for the first thing wrong: no JSON, an unknown field or verdict, a sheet of two weeks,
    an output judged twice, something like personal data in a comment. Then nothing of the file counts.
    """
    ratings: dict[str, Rating] = {}
    weeks: set[tuple[str, str]] = set()
    for number, text in enumerate(_text(file).split("\n"), 1):
        if not text.strip():
            continue
        where = f"{file}:{number}"
        rating = _line(text, where)
        weeks.add((rating.workflow, rating.week))
        if len(weeks) > 1:
            raise FlywheelError("the file holds lines of two weeks or workflows", where=where,
                                remedy="import each sheet as its own file")  # fmt: skip
        if rating.output_id in ratings:
            raise FlywheelError(f"output {rating.output_id} stands twice", where=where, remedy="keep one of the lines")
        ratings[rating.output_id] = rating
    if not ratings:
        raise FlywheelError("the file holds no line", where=str(file), remedy="import what the page saved")
    judged = [rating for rating in ratings.values() if rating.verdict is not None]
    if not judged:
        raise FlywheelError(f"none of the {len(ratings)} lines has a verdict", where=str(file),
                            remedy='set "verdict" to "pass", "fail" or "unsure", or judge in the page and save')  # fmt: skip
    return judged


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > LONGEST_FILE:
            raise FlywheelError(f"the file is larger than {LONGEST_FILE:,} bytes", where=str(file),
                                remedy="import what the page saved")  # fmt: skip
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise FlywheelError(
            f"cannot be read: {error.strerror}", where=str(file), remedy="name a filled sheet"
        ) from None
    except UnicodeDecodeError:
        raise FlywheelError("the file is no UTF-8 text", where=str(file), remedy="import what the page saved") from None


def _line(text: str, where: str) -> Rating:
    remedy = "correct that line, or judge in the page and save again"
    try:
        rating = Rating.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        page = "; this is the page itself, import the .jsonl that it saves" if text.lstrip().startswith("<") else ""
        raise FlywheelError(f"not valid JSON: {error.msg}{page}", where=where, remedy=remedy) from None
    except (ValidationError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "nested too deep"}
        key = ".".join(map(str, first["loc"]))
        raise FlywheelError(f"{key}: {first['msg']}", where=where, remedy=remedy) from None
    found = kinds_in(rating.comment)
    if found:
        raise FlywheelError(f"the comment holds something like personal data ({', '.join(found)})", where=where,
                            remedy="write it without; comments are kept beside the scores")  # fmt: skip
    return rating.model_copy(update={"where": where})
