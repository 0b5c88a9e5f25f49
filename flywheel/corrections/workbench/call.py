"""One request as a page's function sees it: who asks, what they posted, and how an answer is drawn.

The pages are plain functions from a `Call` to a response, run in a thread; everything that guards them (host, session,
token, role, size) has happened before they are called.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from flywheel.chat.visible import has_hidden, segments, visible
from flywheel.corrections.workbench.catalogue import Catalogue, Words, catalogue, script_texts
from flywheel.corrections.workbench.desk import Desk
from flywheel.corrections.workbench.forward import Model
from flywheel.corrections.workbench.people import People, Person
from flywheel.corrections.workbench.prompts import Demonstrations
from flywheel.corrections.workbench.rules import Refusal
from flywheel.corrections.workbench.sessions import COOKIE, LIFETIME_SECONDS, Attempts, Session, Sessions
from flywheel.privacy.egress import is_loopback

CLIP = 4_000
_EFFORT = {"active_ms": 86_400_000, "first_edit_ms": 86_400_000, "keystrokes": 1_000_000}


class Workbench(NamedTuple):
    """What one server holds."""

    desk: Desk
    people: People
    sessions: Sessions
    attempts: Attempts
    model: Model | None
    words: Catalogue = catalogue()
    demonstrations: Demonstrations | None = None


@dataclass
class Call:
    """One request.

    Attributes:
        person: who is signed in; None on the sign-in page alone.
        form: posted names and texts; of a name posted twice the last one.
    """

    bench: Workbench
    request: Request
    session: Session
    person: Person | None
    form: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def desk(self) -> Desk:
        """What the pages act on."""
        return self.bench.desk

    @property
    def name(self) -> str:
        """Who asks; they are signed in."""
        assert self.person is not None
        return self.person.name

    @property
    def swaps(self) -> bool:
        """Whether htmx asked, and swaps the answer into the page."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def item_id(self) -> str:
        """The item in the address."""
        return str(self.request.path_params["item"])

    @property
    def seen(self) -> int:
        """Sequence of the item's last event when the page was drawn; raises Refusal W19."""
        return self.number("seen")

    def number(self, name: str) -> int:
        """A posted whole number; raises Refusal W19."""
        text = self.form.get(name, "")
        if not text.lstrip("-").isdecimal() or len(text) > 15:
            raise Refusal("W19", f"{name} is no number")
        return int(text)

    def effort(self) -> dict[str, Any]:
        """What the page measured: active_ms, first_edit_ms, keystrokes, opened_at; anything implausible is left out."""
        try:
            told = json.loads(self.form.get("effort", "{}"))
        except (ValueError, RecursionError):
            return {}
        if not isinstance(told, dict):
            return {}
        kept: dict[str, Any] = {
            key: value for key, most in _EFFORT.items() if isinstance(value := told.get(key), int) and 0 <= value <= most and value is not True
        }  # fmt: skip
        opened = told.get("opened_at")
        return {**kept, "opened_at": opened} if isinstance(opened, str) and len(opened) <= 32 else kept

    def say(self, text: str) -> str:
        """A text of ours in the language of the pages."""
        return self.bench.words.say(text)

    def page(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        """A template, filled in."""
        text = templates(self.bench.words).get_template(template).render(
            csrf=self.bench.sessions.token(self.session), person=self.person, desk=self.desk, pack=self.desk.pack,
            board=self.desk.board, path=self.request.url.path, **values,
        )  # fmt: skip
        return HTMLResponse(text.encode("utf-8", "replace"), status_code=status, headers=dict(headers or {}))

    def keep(self, response: Response, session: Session) -> None:
        """Set the session's cookie on a response; asked by another name than this machine's, it goes over TLS alone."""
        secure = self.request.url.scheme == "https" or not is_loopback(self.request.url.hostname or "")
        response.set_cookie(COOKIE, self.bench.sessions.cookie(session), max_age=LIFETIME_SECONDS, httponly=True,
                            samesite="strict", secure=secure, path="/")  # fmt: skip

    def go(self, path: str) -> Response:
        """Another page."""
        if self.swaps:
            return Response(status_code=204, headers={"HX-Redirect": path})
        return RedirectResponse(path, status_code=303)


Page = Callable[[Call], Response]


def _pretty(value: Any) -> str:
    """JSON laid out for reading; text that is no JSON as it is."""
    if isinstance(value, str):
        if value[:1] not in "{[" or len(value) > 200_000:
            return value
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    short = json.dumps(value, ensure_ascii=False)
    return short if len(short) <= 60 else json.dumps(value, ensure_ascii=False, indent=2)


@lru_cache(maxsize=8)
def templates(words: Catalogue) -> Environment:
    """The templates in one language."""
    made = Environment(loader=PackageLoader("flywheel.corrections.workbench"), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, auto_reload=False, extensions=[Words])  # fmt: skip
    made.catalogue = words  # type: ignore[attr-defined]
    made.filters.update(
        visible=visible, segments=segments, pretty=_pretty, words=lambda text: str(text).replace("_", " ")
    )
    made.tests["hiding"] = has_hidden
    script = {text: said for text in script_texts() if (said := words.say(text)) != text}
    made.globals.update(CLIP=CLIP, language=words.language, script_words=script)
    return made
