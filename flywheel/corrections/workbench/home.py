"""The pages around the work: signing in, the five ways to begin, and the lead's account of the batch.

What reads the lake is imported by the page that shows it: a partner's bench serves the others without one.
"""

from collections import Counter
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from starlette.responses import Response

from flywheel.corrections.states import HELD, OPEN
from flywheel.corrections.workbench.board import Board, Place
from flywheel.corrections.workbench.call import Call
from flywheel.corrections.workbench.catalogue import msg
from flywheel.corrections.workbench.grading import by_arm
from flywheel.corrections.workbench.lot import for_auditor, lot_of
from flywheel.corrections.workbench.rules import Refusal
from flywheel.errors import FlywheelError

STATES = (
    "queued",
    "claimed",
    "submitted",
    "auto_checked",
    "in_review",
    "disputed",
    "adjudicating",
    "accepted",
    "dropped",
    "released",
)


NOTHING_LEFT = {
    "annotate": msg("Nothing is left to annotate for you."),
    "review": msg("Nothing is left to review for you."),
    "adjudicate": msg("Nothing is left to adjudicate for you."),
    "audit": msg("Nothing is left to audit for you."),
}
SOMEBODY_ELSE = msg(
    "What still waits for the audit needs somebody who had no part in it: a name that has not worked on it yet."
)


class Doorway(NamedTuple):
    """One way to begin: its key, its address, whom it is for, and how many items wait behind it."""

    key: str
    path: str
    title: str
    about: str
    waiting: int
    posts: bool = True


def sign_in_page(call: Call) -> Response:
    """Ask for a name, and for a password where people are named."""
    return call.page("sign_in.html", passwords=call.bench.people.exist(), told="")


def sign_in(call: Call) -> Response:
    """Begin a session of somebody's; raises Refusal W10 or W11."""
    name = call.form.get("name", "").strip()
    call.bench.attempts.check(name)
    try:
        person = call.bench.people.sign_in(name, call.form.get("password", ""))
    except Refusal as refused:
        call.bench.attempts.failed(name)
        return call.page(
            "sign_in.html",
            status=refused.status,
            passwords=call.bench.people.exist(),
            told=f"{refused.code}: {call.say(refused.says)}",
        )
    response = call.go("/")
    call.keep(response, call.bench.sessions.new(person.name))
    return response


def sign_out(call: Call) -> Response:
    """End the session; drafts stay."""
    response = call.go("/sign-in")
    call.keep(response, call.bench.sessions.new())
    return response


def home(call: Call) -> Response:
    """What there is to do for this person."""
    board = call.desk.refresh()
    lot = lot_of(call.desk.store, board)
    held = {role: held_by(board, call.name, role) for role in ("annotator", "reviewer", "adjudicator")}
    count = partial(board.waiting, actor=call.name)
    ways = {
        "annotator": Doorway("1", "/annotate/next", "Annotate", "mark the first wrong step and correct it", count("queued") + held["annotator"]),
        "reviewer": Doorway("2", "/review/next", "Review", "look at what a colleague corrected", count("auto_checked") + held["reviewer"]),
        "adjudicator": Doorway("3", "/adjudicate/next", "Adjudicate", "decide what two disagree about", count("disputed") + held["adjudicator"]),
        "auditor": Doorway("4", "/audit/next", "Audit", "look again at a sample of what was accepted" if lot.closed else "opens when every item is decided, or when the batch is closed early", len(for_auditor(call.desk.store, board, lot, call.name))),
        "grader": Doorway("5", "/grade", "Grade", "judge evaluation outputs without knowing whose they are", 0, False),
        "lead": Doorway("6", "/lead", "Lead", "throughput, ageing, agreement, closing", 0, False),
    }  # fmt: skip
    roles = call.person.roles if call.person else ()
    done = call.request.query_params.get("done", "")
    told = SOMEBODY_ELSE if done == "audit" and lot.waiting else NOTHING_LEFT.get(done, "")
    mine = Doorway("7", "/receipts", "Receipts", "what became of your corrections", 0, False)
    shown = [*(way for role, way in ways.items() if role in roles), mine, *_demonstrate(call)]
    return call.page("home.html", ways=shown, told=told, batch=call.desk.batch)


def _demonstrate(call: Call) -> list[Doorway]:
    """The way to the prompts, where there are any and this person writes."""
    source = call.bench.demonstrations
    if source is None or call.person is None or "annotator" not in call.person.roles:
        return []
    try:
        waiting, about = sum(not one.shown_by for one in source.prompts()), msg("write the right run from a prompt")
    except FlywheelError as error:  # a task that was broken meanwhile keeps nobody from correcting
        waiting, about = 0, error.what
    return [Doorway("8", "/demonstrate/next", "Demonstrate", about, waiting)]


def my_receipts(call: Call) -> Response:
    """What became of this person's corrections; frozen cases are counted, never shown."""
    from flywheel.corrections.receipts import Who, receipts

    found = receipts(call.desk.lake, call.desk.pack.name, Who(call.name))
    return call.page("receipts.html", receipts=found)


def lead(call: Call) -> Response:
    """How the batch stands."""
    from flywheel.corrections.verdict import judge

    board = call.desk.refresh()
    lot = lot_of(call.desk.store, board)
    counts = board.counts()
    accepted = counts.get("accepted", 0) + counts.get("released", 0)
    batch = call.desk.batch
    verdict = judge(call.desk.store, batch, call.desk.pack.settings.quality) if batch else None
    return call.page(
        "lead.html", batch=call.desk.batch, states=[(name, counts.get(name, 0)) for name in STATES if counts.get(name)],
        total=len(board.places), done=board.done(), people=_people(board), days=_days(board), ageing=_ageing(board), lot=lot,
        returns=Counter(place.state.returns for place in board.places.values()), clusters=_clusters(board), told="",
        reported=[place for place in board.places.values() if place.reported], grades=by_arm(call), cost=_cost(call, accepted),
        figures=verdict.figures if verdict else [], reasons=verdict.reasons if verdict else [],
        can_close=board.done() == len(board.places) and not board.closed and not lot.waiting,
    )  # fmt: skip


def lead_deed(call: Call) -> Response:
    """Close the batch; a failed lot goes back to other reviewers by itself."""
    deed = call.request.path_params["deed"]
    if deed == "close":
        call.desk.close(call.name)
    else:
        raise Refusal("W19", "there is no such deed")
    return call.go("/lead")


def held_by(board: Board, actor: str, role: str) -> int:
    """How many items a person holds in a role."""
    status = next(status for status, held in HELD.items() if held == role)
    return sum(place.holder() == actor for place in board.with_status(status))


def _people(board: Board) -> list[dict[str, Any]]:
    """Per person: what they did, and the median of their active seconds an item."""
    seconds: dict[str, list[float]] = {}
    for step in board.steps():
        if step.effort.get("active_ms"):
            seconds.setdefault(step.actor, []).append(step.effort["active_ms"] / 1000)
    work = board.work_by_person()
    return [
        {"name": name, "submitted": did["submit"], "accepted": did["accept"], "returned": did["return"], "disputed": did["dispute"],
         "adjudicated": did["uphold"] + did["drop"], "audited": did["audit"],
         "seconds": round(median(seconds[name])) if name in seconds else None}
        for name, did in sorted(work.items())
    ]  # fmt: skip


def _days(board: Board) -> list[tuple[str, int, int]]:
    """(day, submitted, decided) of the last ten days with work."""
    submitted, decided = Counter(), Counter()
    for step in board.steps():
        if step.kind == "submit":
            submitted[step.at[:10]] += 1
        elif step.kind in ("accept", "uphold", "drop"):
            decided[step.at[:10]] += 1
    return [(day, submitted[day], decided[day]) for day in sorted({*submitted, *decided})[-10:]]


def _ageing(board: Board) -> list[tuple[Place, float]]:
    """The open items that have waited longest for their next event, with hours; untouched queued ones are left out."""
    now = datetime.now(UTC)
    waiting = [(place, (now - datetime.fromisoformat(place.last_at)).total_seconds() / 3600)
               for place in board.places.values() if place.last_at and place.state.status in OPEN]  # fmt: skip
    return sorted(waiting, key=lambda pair: -pair[1])[:8]


def _clusters(board: Board) -> list[tuple[str, int, int, int]]:
    """(cluster, items, done, returned) of the largest clusters."""
    total, done, returned = Counter(), Counter(), Counter()
    for place in board.places.values():
        total[place.cluster] += 1
        done[place.cluster] += place.state.status not in OPEN
        returned[place.cluster] += place.state.returns > 0
    return [(name, count, done[name], returned[name]) for name, count in total.most_common(12)]


def _cost(call: Call, accepted: int) -> list[tuple[str, float | None, str]]:
    """(figure, value, note) of what the batch cost, by the pack's rates; a figure nobody measured is None."""
    from flywheel.corrections.effort import item_rows, totals, work_of

    desk, batch = call.desk, call.desk.batch
    if batch is None:
        return []
    rows = desk.lake.read_partition("correction_batch", workflow=batch.workflow, week=batch.week)
    work = work_of(desk.store.history(batch.name), item_rows(rows, desk.store.planted(batch.name)))
    return [(name, value, note) for name, value, _, note in totals(work, accepted, desk.pack.settings.rates)]
