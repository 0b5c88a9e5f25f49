"""One returned correction against its item: every rule that needs nothing but the two."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from .answers import response_at
from .batch import Batch, Item
from .patch import PatchError, apply_patch
from .personal import added, masked, texts_of
from .rules import finding
from .schema import check_arguments, check_value
from .strict import canonical

SHORTEST, LONGEST = timedelta(seconds=5), timedelta(hours=4)

Finding = dict[str, Any]


def resulting_messages(row: dict[str, Any], item: Item) -> list[dict[str, Any]]:
    """The corrected run: as written out, or the patch applied; raises PatchError."""
    written = row.get("resulting_messages")
    return written if written is not None else apply_patch(item.messages, row["patch"])


def judge_correction(row: dict[str, Any], item: Item, batch: Batch) -> Iterator[Finding]:
    """All findings about a correction whose line is well formed, without part and place."""
    yield from judge_work(row, item, batch)
    if row["base_sha256"] != item.base_sha256:
        return  # it corrects another text: nothing else can be compared
    try:
        messages = resulting_messages(row, item)
        if row.get("patch") is not None and canonical(apply_patch(item.messages, row["patch"])) != canonical(messages):
            yield finding("V06", path="patch", got="the patch gives other messages than resulting_messages")
            return
    except PatchError as error:
        yield finding("V06", path="patch", got=str(error))
        return
    index = row["first_bad_message_index"]
    form = check_value(batch.schemas["correction"]["properties"]["resulting_messages"], messages)
    if form:
        yield finding("V06", path=f"patch gives {form[0].path}".rstrip(), got=form[0].got, expected=form[0].expected)
        return
    if wrong := _misplaced(row, item, messages):
        yield wrong
        return
    if canonical(messages[:index]) != canonical(item.messages[:index]):
        at = next(n for n in range(index) if canonical(messages[n]) != canonical(item.messages[n]))
        yield finding(
            "V14", path=f"resulting_messages/{at}", got=canonical(messages[at]), expected=canonical(item.messages[at])
        )
    yield from _written(row, item, messages)
    yield from _answers(row, batch, messages)
    yield from _pairs(messages, index)
    yield from _personal(row, item, messages[index:], canonical([one.schema for one in batch.responses]))


def judge_work(row: dict[str, Any], item: Item, batch: Batch) -> Iterator[Finding]:
    """What corrections and unfixable items share: the base, the guidelines and the time."""
    if row["base_sha256"] != item.base_sha256:
        yield finding("V05", path="base_sha256", got=row["base_sha256"], expected=item.base_sha256)
    if row["guideline_version"] not in batch.versions:
        yield finding("V11", path="guideline_version", got=row["guideline_version"], expected=batch.versions[-1])
    recalled = batch.letters.recalled.get(item.item_id)
    if recalled:  # work that was done before anybody could know is paid
        yield finding("V23", path="item_id", got=f"called back {recalled['at']}: {recalled['reason']}", expected="nothing for it",
                      billable=_earlier(row["submitted_at"], recalled["at"]))  # fmt: skip
    problem = impossible(row["started_at"], row["submitted_at"], row["active_ms"], batch.manifest["created_at"])
    if problem:
        yield finding("V12", path="submitted_at", got=problem, expected="5 s to 4 h of work after the batch was made")


def impossible(started: str, submitted: str, active_ms: int, created: str) -> str | None:
    """Why the times cannot be, or None; ISO 8601 with a zone."""
    try:
        begin, end, made = (datetime.fromisoformat(text) for text in (started, submitted, created))
        took = end - begin
        before = begin < made
    except (ValueError, TypeError):
        return f"{started} to {submitted}: not ISO 8601 with a zone"
    if before:
        return f"begun {started}, before the batch was made ({created})"
    if took < timedelta(0):
        return f"it ends {-took.total_seconds():g} s before it begins"
    if not SHORTEST <= took <= LONGEST:
        return f"{took.total_seconds():g} s from start to submission"
    if active_ms > took.total_seconds() * 1000 + 1000:
        return f"{active_ms} ms active within {took.total_seconds():g} s"
    return None


def _earlier(first: str, second: str) -> bool:
    try:
        return datetime.fromisoformat(first) < datetime.fromisoformat(second)
    except (ValueError, TypeError):
        return False


def _misplaced(row: dict[str, Any], item: Item, messages: list[dict[str, Any]]) -> Finding | None:
    """What makes the place of the correction impossible."""
    index, trainable = row["first_bad_message_index"], row["trainable_indices"]
    if index >= min(len(item.messages), len(messages)) or item.messages[index]["role"] != "assistant":
        return finding(
            "V19", path="first_bad_message_index", got=str(index), expected="the index of an assistant step of the run"
        )
    if trainable[0] != index or trainable != sorted(set(trainable)):
        return finding(
            "V19", path="trainable_indices", got=str(trainable), expected=f"ascending, beginning with {index}"
        )
    for place in trainable:
        if place >= len(messages) or messages[place]["role"] != "assistant":
            return finding("V19", path="trainable_indices", got=str(place), expected="indices of assistant steps")
    if canonical(messages[index]) == canonical(item.messages[index]):
        return finding(
            "V19", path=f"resulting_messages/{index}", got="the step as the model wrote it", expected="a corrected step"
        )
    if row["suffix_mode"] == "truncated" and len(messages) != index + 1:
        return finding("V19", path="suffix_mode", got=f"truncated, with {len(messages) - index - 1} messages after the step",
                       expected="nothing after the corrected step")  # fmt: skip
    return None


def _written(row: dict[str, Any], item: Item, messages: list[dict[str, Any]]) -> Iterator[Finding]:
    """The steps that may train: each says or calls something, and each call is valid."""
    for place in row["trainable_indices"]:
        message = messages[place]
        if not message.get("content") and not message.get("tool_calls"):
            yield finding("V19", path=f"resulting_messages/{place}", got="a step that neither says nor calls anything")
        for number, call in enumerate(message.get("tool_calls") or []):
            yield from _call(call["function"], item, f"resulting_messages/{place}/tool_calls/{number}/function")


def _answers(row: dict[str, Any], batch: Batch, messages: list[dict[str, Any]]) -> Iterator[Finding]:
    """The written answers that must be structured; a schema that only the house's engine can judge is left to it."""
    for place in row["trainable_indices"]:
        response = response_at(batch.responses, messages, place)
        if response is None or response.unusable or not messages[place].get("content"):
            continue
        path = f"resulting_messages/{place}/content"
        for problem in check_arguments(response.schema, messages[place]["content"]):
            yield finding("V24", path=f"{path}/{problem.path}".rstrip("/"), got=problem.got, expected=f"{response.name}: {problem.expected}")  # fmt: skip


def _call(function: dict[str, Any], item: Item, path: str) -> Iterator[Finding]:
    name = function["name"]
    if name in item.unusable:
        yield finding("V07", path=f"{path}/name", got=name, expected=f"a tool with a usable schema; {item.unusable[name]}",
                      billable=True)  # fmt: skip
    elif name not in item.tools:
        yield finding("V07", path=f"{path}/name", got=name, expected=f"one of {', '.join(sorted(item.tools))}")
    else:
        for problem in check_arguments(item.tools[name], function["arguments"]):
            yield finding(
                "V07", path=f"{path}/arguments/{problem.path}".rstrip("/"), got=problem.got, expected=problem.expected
            )


def _pairs(messages: list[dict[str, Any]], index: int) -> Iterator[Finding]:
    """From the corrected step on: one result for each call, straight after it, in any order; open calls only at the end."""
    used = {call["id"] for message in messages[:index] for call in message.get("tool_calls") or []}
    waiting: set[str] = set()
    for place in range(index, len(messages)):
        message = messages[place]
        path = f"resulting_messages/{place}"
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                yield finding("V08", path=f"{path}/tool_call_id", got=str(message.get("tool_call_id")),
                              expected="the id of a call of the step before, once")  # fmt: skip
            waiting.discard(str(message.get("tool_call_id")))
            continue
        if waiting:
            yield finding(
                "V08", path=path, got=message["role"], expected=f"a result of {', '.join(sorted(waiting))} first"
            )
        if message["role"] == "system":
            yield finding("V08", path=path, got="system", expected="user, assistant or tool after the first wrong step")
        ids = [call["id"] for call in message.get("tool_calls") or []]
        if ids and message["role"] != "assistant":
            yield finding("V08", path=path, got=f"a call by {message['role']}", expected="calls by the assistant only")
        if len(ids) != len(set(ids)) or set(ids) & used:
            yield finding(
                "V08", path=f"{path}/tool_calls", got=f"ids {', '.join(ids)}", expected="an id of its own for each call"
            )
        used.update(ids)
        waiting = set(ids)


def _personal(row: dict[str, Any], item: Item, written: list[dict[str, Any]], offered: str) -> Iterator[Finding]:
    known = [*texts_of(item.messages), canonical(item.tools), offered]
    free = [row.get(name) or "" for name in ("rationale", "failure_code", "client_version")]
    for kind, value in added([*texts_of(written), *free], known):
        yield finding(
            "V09", path="resulting_messages", got=masked(kind, value), expected="nothing that the run does not hold"
        )
