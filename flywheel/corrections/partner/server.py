"""The partner's bench as an application: the workbench's guard and its pages of work, without what needs the house."""

from starlette.routing import Route

from flywheel.corrections.partner import pages
from flywheel.corrections.partner.desk import PartnerDesk
from flywheel.corrections.partner.opened import Opened
from flywheel.corrections.workbench.call import Workbench
from flywheel.corrections.workbench.forward import Model
from flywheel.corrections.workbench.server import Guard, annotating, judging, people_of, signing_in
from flywheel.corrections.workbench.sessions import Attempts, Sessions
from flywheel.settings import Settings


def partner_workbench(opened: Opened, *, model: Model | None = None) -> Workbench:
    """What the server of an opened batch holds."""
    desk = PartnerDesk(opened)
    desk.refresh()
    home = Settings(home=opened.work)
    return Workbench(desk, people_of(home), Sessions(home.home / "qa" / "workbench.key"), Attempts(), model)


def partner_routes(guard: Guard) -> list[Route]:
    """The addresses of a partner's bench."""
    return [
        *signing_in(guard),
        Route("/", guard(pages.start), methods=["GET"]),
        Route("/hand-back", guard(pages.hand_back, "lead"), methods=["GET"]),
        Route("/hand-back", guard(pages.write, "lead"), methods=["POST"]),
        Route("/questions", guard(pages.questions), methods=["GET"]),
        Route("/questions", guard(pages.ask), methods=["POST"]),
        *annotating(guard),
        *judging(guard, "review", "adjudicate"),
    ]
