"""The application: routes, what guards every request, and how a refusal is shown.

Every request passes, in this order: the host it names, its size, its session, for a changing one its origin and token,
and the role its page asks for. Then the page runs in a thread. Nothing is cached, nothing comes from elsewhere: the
policy allows this origin's script and style and no inline ones.
"""

import importlib.resources
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from flywheel.corrections.stores import open_store
from flywheel.corrections.workbench import annotate, demonstrate, grading, home, judge
from flywheel.corrections.workbench.call import Call, Page, Workbench
from flywheel.corrections.workbench.desk import Desk
from flywheel.corrections.workbench.forward import Model
from flywheel.corrections.workbench.grades import Grades
from flywheel.corrections.workbench.people import People
from flywheel.corrections.workbench.prompts import Demonstrations
from flywheel.corrections.workbench.rules import Refusal
from flywheel.corrections.workbench.sessions import COOKIE, Attempts, Sessions
from flywheel.errors import FlywheelError
from flywheel.privacy.egress import is_loopback
from flywheel.privacy.listening import Tls, check_listening
from flywheel.settings import Settings

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
            "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"}  # fmt: skip
_LARGEST = 4_000_000
_WRITERS = ("annotator", "adjudicator")  # an adjudicator may write another answer to a conflict
_STATIC = {"workbench.css": "text/css", "workbench.js": "text/javascript", "htmx.min.js": "text/javascript",
           "icon.svg": "image/svg+xml"}  # fmt: skip


def make_workbench(
    settings: Settings, workflow: str, *, week: str | None = None, model: Model | None = None,
    demonstrations: Demonstrations | None = None,
) -> Workbench:  # fmt: skip
    """Open the stores of a workflow and read its open batch; raises FlywheelError when there is none, and nothing to demonstrate."""
    from flywheel.lake import Lake  # a partner's bench has neither lake nor packs
    from flywheel.workflows.loader import find_pack

    pack = find_pack(settings.workflows(), workflow)
    qa = settings.home / "qa"
    desk = Desk(open_store(settings, workflow), Grades(qa / f"{workflow}.workbench.sqlite"), Lake(settings.lake()), pack, week=week)  # fmt: skip
    if desk.batch is None and demonstrations is None:
        raise FlywheelError(f"no correction batch of {workflow} was opened", where=f"week {week}" if week else "",
                            remedy=f"flywheel run --workflow {workflow} --week MONDAY --stage collect")  # fmt: skip
    desk.refresh()
    return Workbench(
        desk, people_of(settings), Sessions(qa / "workbench.key"), Attempts(), model, demonstrations=demonstrations
    )


def people_of(settings: Settings) -> People:
    """The installation's users of the workbench."""
    return People(settings.home / "qa" / "people.json")


def check_bind(host: str, people: People, *, tls: Tls | None = None, names: Sequence[str] = ()) -> None:
    """Refuse to be reached from beyond this machine without TLS and named users; raises FlywheelError saying how to get them.

    Args:
        names: other names it may be asked by. Somebody forwards those to it, so named users are needed; the TLS is the proxy's.
    """
    add = "flywheel workbench-users add NAME --role annotator --role reviewer"
    check_listening("the workbench", host, tls=tls, asks_who=people.exist(), name_people=add)
    foreign = next((name for name in names if not is_loopback(name)), None)
    if foreign and not people.exist():
        raise FlywheelError(f"the workbench is not served as {foreign} while anybody may sign in by name alone", where="--name",
                            remedy=f"name who may: {add}")  # fmt: skip


def make_app(
    bench: Workbench, *, hosts: tuple[str, ...] = (), routes: "Callable[[Guard], list[Route]] | None" = None
) -> Starlette:
    """The application.

    Args:
        hosts: names it may be asked by, beside those of this machine.
        routes: its addresses; those of the house when None.
    """
    guard = Guard(bench, frozenset(hosts))
    return Starlette(
        routes=(routes or house_routes)(guard), exception_handlers={404: guard.not_found, 405: guard.not_found}
    )


def house_routes(guard: "Guard") -> list[Route]:
    """The addresses of the workbench in the house."""
    return [
        *signing_in(guard),
        Route("/", guard(home.home), methods=["GET"]),
        Route("/receipts", guard(home.my_receipts), methods=["GET"]),
        Route("/lead", guard(home.lead, "lead"), methods=["GET"]),
        Route("/lead/{deed}", guard(home.lead_deed, "lead"), methods=["POST"]),
        *annotating(guard),
        *judging(guard, *judge.PASSES),
        *demonstrating(guard),
        Route("/grade", guard(grading.page, "grader"), methods=["GET"]),
        Route("/grade", guard(grading.grade, "grader"), methods=["POST"]),
    ]


def signing_in(guard: "Guard") -> list[Route]:
    """Style and script, signing in and out."""
    return [
        Route("/static/{name}", _static, methods=["GET"]),
        Route("/sign-in", guard(home.sign_in_page, signed_in=False), methods=["GET"]),
        Route("/sign-in", guard(home.sign_in, signed_in=False), methods=["POST"]),
        Route("/sign-out", guard(home.sign_out), methods=["POST"]),
    ]


def annotating(guard: "Guard") -> list[Route]:
    """Pass 1."""
    return [
        Route("/annotate/next", guard(annotate.take, "annotator"), methods=["POST"]),
        Route("/annotate/{item}", guard(annotate.page, *_WRITERS), methods=["GET"]),
        Route("/annotate/{item}/text", guard(annotate.whole_text), methods=["GET"]),
        Route("/annotate/{item}/edit", guard(annotate.edit, *_WRITERS), methods=["POST"]),
        Route("/annotate/{item}/fields", guard(annotate.fields, *_WRITERS), methods=["POST"]),
        Route("/annotate/{item}/submit", guard(annotate.submit, *_WRITERS), methods=["POST"]),
        Route("/annotate/{item}/similar", guard(annotate.similar, "annotator"), methods=["POST"]),
        Route("/annotate/{item}/give-back", guard(annotate.give_back, *_WRITERS), methods=["POST"]),
        Route("/annotate/{item}/claim", guard(annotate.claim_again, "annotator"), methods=["POST"]),
        Route("/annotate/{item}/report", guard(annotate.report), methods=["POST"]),
    ]


def demonstrating(guard: "Guard") -> list[Route]:
    """Right runs written from prompts."""
    return [
        Route("/demonstrate", guard(demonstrate.prompts_page, "annotator"), methods=["GET"]),
        Route("/demonstrate/next", guard(demonstrate.take, "annotator"), methods=["POST"]),
        Route("/demonstrate/{item}", guard(demonstrate.page, "annotator"), methods=["GET"]),
        Route("/demonstrate/{item}/edit", guard(demonstrate.edit, "annotator"), methods=["POST"]),
        Route("/demonstrate/{item}/fields", guard(demonstrate.fields, "annotator"), methods=["POST"]),
        Route("/demonstrate/{item}/submit", guard(demonstrate.submit, "annotator"), methods=["POST"]),
    ]


def judging(guard: "Guard", *passes: str) -> list[Route]:
    """Passes 2 and 3 and the audit, by their names."""
    return [
        route
        for pass_ in map(judge.PASSES.__getitem__, passes)
        for route in (
            Route(f"/{pass_.path}/next", guard(judge.take(pass_), pass_.role), methods=["POST"]),
            Route(f"/{pass_.path}/{{item}}", guard(judge.page(pass_), pass_.role), methods=["GET"]),
            Route(f"/{pass_.path}/{{item}}/decide", guard(judge.decide(pass_), pass_.role), methods=["POST"]),
        )
    ]


class Guard:
    """Stands before every page."""

    def __init__(self, bench: Workbench, hosts: frozenset[str]) -> None:
        self._bench, self._hosts = bench, hosts

    def __call__(self, page: Page, *roles: str, signed_in: bool = True):
        """The page behind the guard; only people with one of `roles` (any, when none is named) are let in."""

        async def guarded(request: Request) -> Response:
            call = Call(self._bench, request, self._bench.sessions.new(), None)
            try:
                self._check_host(request)
                pairs = await _posted(request) if request.method == "POST" else []
                response = await run_in_threadpool(self._answer, call, page, roles, pairs, signed_in)
            except FlywheelError as refused:
                response = await run_in_threadpool(_refused, call, refused)
            except ClientDisconnect:
                return Response(status_code=400)
            response.headers.update(_HEADERS)
            return response

        return guarded

    async def not_found(self, request: Request, error: Exception) -> Response:
        """The page for an address there is none at."""
        call = Call(self._bench, request, self._bench.sessions.new(), None)
        status = error.status_code if isinstance(error, HTTPException) else 404
        response = await run_in_threadpool(_refused, call, Refusal("W07", "no such page"))
        response.status_code = status
        response.headers.update(_HEADERS)
        return response

    def _answer(
        self, call: Call, page: Page, roles: tuple[str, ...], pairs: list[tuple[str, str]], signed_in: bool
    ) -> Response:
        known = self._bench.sessions.read(call.request.cookies.get(COOKIE))
        call.session = known or call.session
        if known and known.name:
            call.person = self._bench.people.current(known.name)
        call.form = dict(pairs)
        call.lists = {key: [v for k, v in pairs if k == key] for key in {k for k, _ in pairs}}
        if call.request.method == "POST":
            self._check_origin(call.request)
            if known is None:
                raise Refusal("W09")
            token = call.form.get("csrf") or call.request.headers.get("x-csrf", "")
            self._bench.sessions.check_token(known, token)
        if signed_in and call.person is None:
            return call.go("/sign-in") if call.request.method == "GET" else _refused(call, Refusal("W09"))
        if roles and call.person and not set(roles) & set(call.person.roles):
            wanted, held = " or ".join(roles), ", ".join(call.person.roles) or "none"
            raise Refusal("W01", f"this page is for the role {wanted}, {call.name} has {held}")
        response = page(call)
        if known is None and not signed_in:
            call.keep(response, call.session)
        return response

    def _check_host(self, request: Request) -> None:
        """A name that merely resolves to this machine is a page elsewhere that wants in (DNS rebinding)."""
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if not is_loopback(name) and name not in self._hosts:
            raise Refusal("W16", name[:80])

    def _check_origin(self, request: Request) -> None:
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise Refusal("W04", "another origin")
        if site not in (None, "same-origin", "none"):
            raise Refusal("W04", "another site")


async def _posted(request: Request) -> list[tuple[str, str]]:
    """The fields of a posted form; raises Refusal when it is no form or too large."""
    kind = request.headers.get("content-type", "")
    if kind and not kind.startswith("application/x-www-form-urlencoded"):
        raise Refusal("W19", "only forms are read here")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise Refusal("W15", f"over {_LARGEST:,} bytes")
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=20_000)
    except ValueError as error:
        raise Refusal("W19", str(error)[:80]) from None


def _refused(call: Call, refused: FlywheelError) -> Response:
    """A refusal as a page, or as a notice inside the page that asked."""
    rule = refused if isinstance(refused, Refusal) else Refusal("W18", refused.what, remedy=refused.remedy)
    again = call.request.url.path
    item = call.request.path_params.get("item")
    values = {"rule": rule, "again": "/".join(again.split("/")[:3]) if item else "", "can_claim": rule.code in ("W02", "W03"),
              "seen": call.desk.board.places[item].sequence if item in call.desk.board.places else 0,
              "item_status": call.desk.board.places[item].state.status if item in call.desk.board.places else ""}  # fmt: skip
    return call.page("notice.html" if call.swaps else "refused.html", status=rule.status, **values)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return Response("not found", status_code=404, headers=_HEADERS)
    file = importlib.resources.files("flywheel.corrections.workbench") / "static" / name
    headers = {**_HEADERS, "Cache-Control": "no-cache"}
    return Response(Path(str(file)).read_bytes(), media_type=_STATIC[name], headers=headers)
