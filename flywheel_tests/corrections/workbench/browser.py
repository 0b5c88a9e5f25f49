"""A signed-in person without a browser: the workbench through starlette's test client, one cookie jar each."""

import re
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

HOST = "http://127.0.0.1"


class Visitor:
    """One person at the workbench."""

    def __init__(self, app: Starlette, name: str, password: str = "") -> None:
        self.http = TestClient(app, base_url=HOST, follow_redirects=False)
        page = self.http.get("/sign-in").text
        self.http.post("/sign-in", data={"csrf": hidden(page, "csrf"), "name": name, "password": password})
        self.csrf = hidden(self.http.get("/").text, "csrf") or ""
        self.page = ""
        self.item = ""

    def take(self, path: str = "annotate") -> str:
        """Open the next item; returns its id, or "" when there is none."""
        answer = self.http.post(f"/{path}/next", data={"csrf": self.csrf})
        place = answer.headers.get("location", "")
        if not place.startswith(f"/{path}/"):
            return ""
        self.item = place.rsplit("/", 1)[1]
        self.page = self.http.get(place).text
        return self.item

    def form(self) -> dict[str, str]:
        """The fields of the form as it was drawn last."""
        return fields_of(self.page)

    def edit(self, op: str, **fields: str) -> Any:
        """One operation; the page is drawn anew when it succeeded."""
        answer = self.http.post(
            f"/annotate/{self.item}/edit", data={**self.form(), **fields, "op": op}, headers={"hx-request": "true"}
        )
        if answer.status_code == 200:
            self.page = answer.text
        return answer

    def submit(self, **fields: str) -> Any:
        """Submit, as a browser without a script would."""
        return self.http.post(f"/annotate/{self.item}/submit", data={**self.form(), **fields})

    def decide(self, path: str, decision: str, words: str = "") -> Any:
        """Judge the opened item."""
        return self.http.post(f"/{path}/{self.item}/decide", data={**self.form(), "decision": decision, "words": words})


def hidden(page: str, name: str) -> str | None:
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', page)
    return found[1] if found else None


def fields_of(page: str) -> dict[str, str]:
    """What a browser would post of the form with the id `editor`: inputs, chosen radios, text areas."""
    from html.parser import HTMLParser

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: dict[str, str] = {}
            self.inside, self.area = False, None

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            held = dict(attrs)
            if tag == "form":
                self.inside = held.get("id") == "editor"
            if not self.inside or not held.get("name"):
                return
            if tag == "textarea":
                self.area = held["name"]
                self.found[self.area] = ""
            elif tag == "input" and (held.get("type") not in ("radio", "checkbox") or "checked" in held):
                self.found[held["name"]] = held.get("value") or ""

        def handle_data(self, data: str) -> None:
            if self.area:
                text = self.found[self.area] + data
                self.found[self.area] = text.removeprefix("\n") if not self.found[self.area] else text

        def handle_endtag(self, tag: str) -> None:
            if tag == "textarea":
                self.area = None
            if tag == "form":
                self.inside = False

    reader = Reader()
    reader.feed(page)
    return reader.found


Visit = Callable[..., Visitor]
RIGHT = {"s:/reason": "given", "v:/reason": "2"}


def corrected(visitor: Visitor) -> None:
    """Take the first item and correct it."""
    visitor.take()
    visitor.edit("mark:4")
    assert visitor.submit(**RIGHT).status_code == 303
