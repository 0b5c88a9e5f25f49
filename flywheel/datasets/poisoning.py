"""The poisoning guard: a string that is new in targets and suddenly frequent blocks the release and names the rows.

New is what the newest dataset of an earlier week does not hold: that one passed this guard. A week that was blocked wrote none, so that its
rows are judged again in the next week, until a person releases or withdraws them.

Strings that stand in the tools, the prompt, the guidelines or the benchmark's cases are exempt, and so is whatever a target held that
passed. The rest is looked at by a person, who releases it by name (design.md 8.11): a dead end teaches people to switch guards off.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import load_cases
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.dataset_tables import BEFORE_ALL_WEEKS
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.pack import Pack, Poisoning

# Names of hosts have parts of at most 63 characters; without a bound, a text of them would be read once a character.
_LINK = re.compile(
    r"(?:https?://|www\.)\S+|\b[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}\.(?:com|net|org|io|info|biz|ru|cn|xyz|top|shop|app|dev)\b(?:/\S*)?",
    re.I,
)
_ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_NUMBER = re.compile(r"\b\d[\d .,:/-]{3,}\d\b")
_WORD = re.compile(r"[^\W\d_]{3,}")


class Suspicion(NamedTuple):
    """A string that is new and suddenly frequent: what it is (link, number or word), in which new rows, of how many."""

    token: str
    kind: str
    row_ids: list[str]
    new_rows: int


class Passed(NamedTuple):
    """What passed the guard before.

    Attributes:
        week: of the newest earlier dataset; None where no earlier week has one.
        targets: row_id -> JSON of the target, of its rows.
        learned: whether any of them is of a week, and not from before all weeks.
    """

    week: str | None = None
    targets: Mapping[str, str] = {}
    learned: bool = False


def passed_before(lake: Lake, workflow: str, week: str) -> Passed:
    """The newest dataset of a week before `week`, as it lies in the lake."""
    earlier = _newest_before(lake, workflow, week)
    if earlier is None:
        return Passed()
    rows = lake.read_columns(
        "sft_dataset", ("row_id", "target", "from_week"), workflow=workflow, where=pl.col("week") == earlier
    )
    return Passed(earlier, dict(rows.select("row_id", "target").rows()), bool(rows["from_week"].count()))


def suspicions(
    rows: Sequence[Mapping[str, Any]], pack: Pack, passed: Passed, *, withdrawn: Collection[str] = frozenset()
) -> list[Suspicion]:
    """Suspicious strings in the targets of the rows that have not passed yet, most frequent first.

    Args:
        rows: those that would train; rows from before all weeks count as known.
        withdrawn: row ids whose source was withdrawn: what stands in their targets only is not known any more.

    In a workflow's first week only links and numbers count: what people write in corrections differs from demonstrations in any word,
    and there is no earlier week to compare it with.
    """
    new = [row for row in rows if row["week"] != BEFORE_ALL_WEEKS and row["row_id"] not in passed.targets]
    gone = set(withdrawn) - {row["row_id"] for row in rows}
    targets = [target for row_id, target in passed.targets.items() if row_id not in gone]
    targets += [row["target"] for row in rows if row["week"] == BEFORE_ALL_WEEKS]
    known = _tokens(map(json.loads, targets))
    exempt = _exempt(pack)
    holders: dict[tuple[str, str], dict[str, str]] = {}
    for row in new:
        said = "\n".join(_strings(json.loads(row["messages"])))
        own = {token for _, token in _tokens_in(said)}
        for kind, token in _tokens_in(_without_given(json.loads(row["target"]), said)):
            # A number the run itself gave is an order's or a parcel's; many rows with the same one are caught as words are.
            if token not in known and token not in exempt and not (kind == "number" and token in own):
                holders.setdefault((kind, token), {})[row["row_id"]] = row["week"]
    rules, sizes = pack.settings.datasets.poisoning, Counter(row["week"] for row in new)
    found = [
        Suspicion(token, kind, sorted(weeks), len(new))
        for (kind, token), weeks in holders.items()
        if (kind != "word" and len(weeks) >= rules.links_and_numbers)
        or (kind == "word" and passed.learned and _is_frequent(Counter(weeks.values()), sizes, rules))
    ]
    return sorted(found, key=lambda one: (-len(one.row_ids), one.token))


def refuse_suspicious(found: Sequence[Suspicion], released: Iterable[str], *, workflow: str, week: str) -> None:
    """Raise FlywheelError naming strings and rows that nobody has released."""
    known = set(released)
    waiting = [one for one in found if one.token not in known]
    if waiting:
        named = "; ".join(f"{one.kind} {one.token!r} in {len(one.row_ids)} of {one.new_rows} new rows ({', '.join(one.row_ids[:3])} ...)"
                          for one in waiting[:5])  # fmt: skip
        raise FlywheelError(
            f"{len(waiting)} strings are new in targets and suddenly frequent: {named}", where=f"{workflow}, week {week}",
            remedy=f"look at the rows; if they are right: flywheel dataset release --workflow {workflow} --week {week} --by YOUR_NAME; "
            "if not: flywheel dataset withdraw",
        )  # fmt: skip


def released_strings(lake: Lake, workflow: str, week: str) -> set[str]:
    """Strings that were released for a week, or for an earlier one since the newest dataset before it: their rows wait as well."""
    releases = lake.read_weeks("dataset_releases", workflow=workflow).filter(pl.col("released_week") <= week)
    since = _newest_before(lake, workflow, week)
    return set((releases if since is None else releases.filter(pl.col("released_week") > since))["token"])


def release_rows(found: Sequence[Suspicion], week: str, by: str, at: Any) -> list[dict[str, Any]]:
    """DATASET_RELEASES rows without partition columns: what a named person looked at."""
    return [
        {"release_id": sha256_of([week, one.token])[:16], "released_week": week, "token": one.token, "rows_shown": json.dumps(one.row_ids),
         "released_by": by, "released_at": at}
        for one in found
    ]  # fmt: skip


def tokens_of(value: Any) -> set[tuple[str, str]]:
    """(kind, token) of every string in a JSON value: links, numbers of five digits and more, and words, case folded."""
    return _tokens_in("\n".join(_strings(value)))


def _without_given(target: Any, said: str) -> str:
    """The target's text without mail addresses that the run itself gave: their hosts are many people's, and no link to follow."""
    given = {match.group().casefold() for match in _ADDRESS.finditer(said)}
    text = "\n".join(_strings(target))
    return _ADDRESS.sub(lambda match: " " if match.group().casefold() in given else match.group(), text)


def _tokens_in(text: str) -> set[tuple[str, str]]:
    links = {match.group().rstrip(".,;)").casefold() for match in _LINK.finditer(text)}
    numbers = {re.sub(r"\D", "", match.group()) for match in _NUMBER.finditer(text)}
    words = {match.group().casefold() for match in _WORD.finditer(_LINK.sub(" ", text))}
    return {("link", one) for one in links} | {("number", one) for one in numbers} | {("word", one) for one in words}


def _newest_before(lake: Lake, workflow: str, week: str) -> str | None:
    """The newest earlier week whose dataset was written, if only an empty one."""
    written = lake.all_lineage(workflow=workflow, tables=["sft_dataset"])["week"]
    return max((one for one in written if one < week), default=None)


def _is_frequent(holding: Counter[str], sizes: Counter[str], rules: Poisoning) -> bool:
    """Whether many of the new rows hold a word: of all of them, or of those of one week; both are counted by week.

    A week that was blocked is not diluted by the weeks that came after it.
    """
    counts = [(holding.total(), sizes.total()), *((count, sizes[week]) for week, count in holding.items())]
    return any(count >= max(rules.minimum_rows, rules.share * of) for count, of in counts)


def _tokens(values: Iterable[Any]) -> set[str]:
    return {token for value in values for _, token in tokens_of(value)}


def _exempt(pack: Pack) -> set[str]:
    cases = [case.model_dump(mode="json") for case in load_cases(pack.folder / "benchmark", pack.tools)]
    return _tokens([[tool["function"] for tool in pack.tools], pack.system, pack.guidelines, cases])


def _strings(value: Any) -> Iterable[str]:
    """Keys and strings of a JSON value; a string that holds JSON itself is opened."""
    if isinstance(value, str):
        if value[:1] in "{[":
            try:
                yield from _strings(json.loads(value))
                return
            except (ValueError, RecursionError):  # no JSON, or nested past what is read: then it is a text
                pass
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key != "id":  # a call's id says nothing
                yield str(key)
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
