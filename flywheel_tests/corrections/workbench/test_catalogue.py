"""The workbench's words lie in one catalogue, and no page says anything of its own beside it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.corrections.verdict import judge
from flywheel.corrections.workbench import catalogue as catalogues
from flywheel.corrections.workbench.call import Workbench
from flywheel.corrections.workbench.catalogue import (
    Catalogue,
    _Scanner,
    bypassing,
    catalogue,
    python_texts,
    template_texts,
    texts,
)
from flywheel.corrections.workbench.server import make_app
from flywheel.errors import FlywheelError
from flywheel_tests.corrections.workbench.browser import Visitor
from flywheel_tests.corrections.workbench.house import RUNS

FOLDER = Path(catalogues.__file__).parent
PAGES = sorted((FOLDER / "templates").glob("*.html"))
RIGHT = {"s:/reason": "given", "v:/reason": "2"}


def test_english_is_complete_and_holds_nothing_that_no_page_says():
    written = json.loads((FOLDER / "strings" / "en.json").read_text())
    assert written == {text: text for text in texts()}, (
        "python -m flywheel.corrections.workbench.catalogue writes it anew"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_text_in_an_expression_bypasses_the_catalogue(page: Path):
    assert bypassing(page.read_text()) == [], "give it the filter t"


def test_the_script_says_nothing_of_its_own():
    script = (FOLDER / "static" / "workbench.js").read_text()
    assert not re.findall(r"(?:say\(|textContent = |[?:] )'[A-Za-z][a-z]+ [^']*'", script), "wrap it in t(...)"


def test_what_is_seen_is_found_and_the_rest_is_left_alone():
    source = "<p class=\"hidden words\" title=\"A title\">Some {{ x }} <b>words</b> <kbd>Enter</kbd>{{ 'kept' | t }} <i class=\"{{ 'style' if x }}\">{{ 'bare' if x else y }}</i></p>"
    assert template_texts(source) == {"A title", "Some", "words", "kept"} and bypassing(source) == ["bare"]
    assert python_texts("Refusal('W05', 'a detail', remedy='mend it')\nmsg('words')\nmsg(f'not {x}')\nprint('no')") == {
        "a detail", "mend it", "words"}  # fmt: skip


@given(st.lists(st.text(alphabet="ab<>\"'=/ kd\n"), max_size=6))
def test_a_template_loses_nothing_on_its_way_through(pieces: list[str]):
    scanner = _Scanner()
    assert ["".join(text for _, text in scanner.split(piece)) for piece in pieces] == pieces


def test_a_language_of_ones_own_is_found_first_and_a_broken_one_is_told(tmp_path: Path):
    (tmp_path / "de.json").write_text(json.dumps({"Sign in": 'An<b>melden & "los"'}))
    words = catalogue("de", tmp_path)
    assert words.say("Sign in") == 'An<b>melden & "los"' and words.say("Sign out") == "Sign out" and words.say(3) == 3
    assert words.literal(" Sign in ") == " An&lt;b&gt;melden &amp; &quot;los&quot; "
    (tmp_path / "fr.json").write_text("[]")
    for language, said in (("fr", "cannot be read"), ("it", "no words in 'it'"), ("../x", "no language")):
        with pytest.raises(FlywheelError, match=said):
            catalogue(language, tmp_path)


class _Shown(HTMLParser):
    """What a person sees or hears of a page, without keys, commands, and the validators' sentences."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent: list[str] = []
        self._judged = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self._judged = held.get("id") == "status" or (self._judged and tag in ("p", "ul", "kbd"))
        problem = tag == "p" and held.get("class") == "problem"
        if tag in ("kbd", "code", "script", "style", "pre") or problem or (tag == "ul" and self._judged):
            self._silent.append(tag)
        self.found += [held[name] or "" for name in ("title", "aria-label", "placeholder", "alt") if held.get(name)]

    def handle_endtag(self, tag: str) -> None:
        if self._silent and self._silent[-1] == tag:
            self._silent.pop()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.found.append(data)


def test_whatever_a_page_says_comes_from_the_catalogue_or_from_the_data(bench: Workbench):
    strange = Catalogue("xx", {text: f"⟦{text}⟧" for text in texts()})
    app = make_app(bench._replace(words=strange))
    ann, rob, lea = Visitor(app, "ann"), Visitor(app, "rob"), Visitor(app, "lea")
    seen = [ann.http.get("/").text, ann.http.get("/nowhere").text]
    ann.take()
    seen.append(ann.page)
    ann.edit("mark:4")
    seen.append(ann.page)
    seen.append(ann.submit(**RIGHT).text)
    ann.take()
    seen.append(ann.edit("unfixable:policy_gap").text)
    ann.submit()
    rob.take("review")
    seen.append(rob.page)
    seen += [rob.decide("review", "dispute").text, rob.decide("review", "accept").text]
    seen += [lea.http.get("/lead").text, lea.http.get("/grade").text, lea.http.get("/receipts").text]
    pack = bench.desk.pack
    desk = bench.desk
    assert desk.batch
    figures = judge(desk.store, desk.batch, pack.settings.quality).figures  # measured in the house, and named there
    others = ["ann", "rob", "lea", "critical", "major", "minor", "three", *(key[:10] for key in desk.items)]
    data = json.dumps([RUNS, pack.tools, pack.name, others, desk.items, [[one.name, one.note] for one in figures]])
    known = set(re.findall(r"[^\W\d_]{2,}", data)) | {"support", "desk", "XX"}
    for page in seen:
        shown = _Shown()
        shown.feed(page)
        for text in shown.found:
            beside = re.sub(r"⟦[^⟧]*⟧", " ", text)
            words = [word for word in re.findall(r"[^\W\d_]{2,}", beside) if word not in known]
            assert not words, (words, text)
    assert "⟦Annotate⟧" in seen[0] and 'lang="xx"' in seen[0]
