"""The pages that only a partner's bench has: its start, and handing back what is done."""

from functools import partial

from starlette.responses import Response

from flywheel.corrections.partner.desk import PartnerDesk
from flywheel.corrections.partner.handing_back import Part, waiting, write_part
from flywheel.corrections.workbench.call import Call
from flywheel.corrections.workbench.catalogue import msg
from flywheel.corrections.workbench.home import NOTHING_LEFT, Doorway, held_by


def start(call: Call) -> Response:
    """What there is to do for this person."""
    board = call.desk.refresh()
    count = partial(board.waiting, actor=call.name)
    ways = {
        "annotator": Doorway("1", "/annotate/next", "Annotate", "mark the first wrong step and correct it", count("queued") + held_by(board, call.name, "annotator")),
        "reviewer": Doorway("2", "/review/next", "Review", "look at what a colleague corrected", count("auto_checked") + held_by(board, call.name, "reviewer")),
        "adjudicator": Doorway("3", "/adjudicate/next", "Adjudicate", "decide what two disagree about", count("disputed") + held_by(board, call.name, "adjudicator")),
        "lead": Doorway("4", "/hand-back", "Hand back", "write what is done as a part of the return", len(waiting(_desk(call).opened).decided), False),
    }  # fmt: skip
    asking = Doorway("5", "/questions", "Questions", "ask the house; answers, amendments, items called back", 0, False)
    roles = call.person.roles if call.person else ()
    done = call.request.query_params.get("done", "")
    told = NOTHING_LEFT.get(done, "")
    return call.page("home.html", ways=[*(way for role, way in ways.items() if role in roles), asking], told=told, batch=call.desk.batch)  # fmt: skip


def questions(call: Call) -> Response:
    """What was asked and answered, amended and called back."""
    call.desk.refresh()
    return call.page("questions.html", everything=_desk(call).correspondence.everything(), letters=_desk(call).opened.handed.letters)  # fmt: skip


def ask(call: Call) -> Response:
    """Keep a question to the house; back to the item it is about."""
    item = call.form.get("item", "")
    _desk(call).correspondence.ask(call.name, item or None, call.form.get("text", ""))
    return call.go(f"/annotate/{item}" if item else "/questions")


def hand_back(call: Call) -> Response:
    """What the next part would hold, and the parts that are written."""
    return _hand_back(call)


def write(call: Call) -> Response:
    """Write the next part."""
    call.desk.refresh()
    part = write_part(_desk(call).opened, unreviewed=call.form.get("unreviewed") == "1",
                      handling=call.form.get("handling", ""), deletion=call.form.get("deletion", ""))  # fmt: skip
    return _hand_back(call, part, "" if part else msg("There is nothing new to hand back."))


def _hand_back(call: Call, part: Part | None = None, told: str = "") -> Response:
    call.desk.refresh()
    opened = _desk(call).opened
    parts = sorted(path.name for path in opened.returns.glob("part-*")) if opened.returns.is_dir() else []
    return call.page("hand_back.html", waiting=waiting(opened), part=part, parts=parts, told=told, opened=opened,
                     signs=bool(opened.handed.manifest.get("partner_public_key")))  # fmt: skip


def _desk(call: Call) -> PartnerDesk:
    assert isinstance(call.desk, PartnerDesk)
    return call.desk
