"""The workbench's words: what its pages and its script say, one JSON file a language under `strings/`, keyed by the English text.

Templates are written in English, and everything a person sees of them goes through the catalogue when they are compiled: the text between
tags, and the attributes that are shown or read out. So no literal text of a page can pass it by. What is a string inside an expression, or
comes from Python, carries the filter `t`; a test looks for those that do not. `python -m flywheel.corrections.workbench.catalogue` writes
`strings/en.json` anew from the sources. What the catalogue does not have is shown in English.

Not in it: what a run, a pack or a person says, the sentences of the validators, receipts, and sentences that Python puts together with
values in them.
"""

import ast
import html
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, nodes
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from flywheel.errors import FlywheelError

ENGLISH = "en"
_SHOWN = ("title", "aria-label", "placeholder", "alt")
_SILENT = ("kbd", "code", "script", "style")  # keys, commands: the same in every language
_LETTERS = re.compile(r"[^\W\d_]{2}")
_CODE = re.compile(r"[a-z]{2}(-[A-Z]{2})?")
# Calls whose literal texts are shown, and which of their arguments.
_PYTHON = {"Refusal": (1,), "Rule": (1, 2), "Decision": (2, 4), "Pass": (2,), "Doorway": (2, 3), "msg": (0,)}
_SCRIPT = re.compile(r"\bt\('((?:[^'\\]|\\.)*)'\)")


def msg(text: str) -> str:
    """The text itself: marks a literal of Python that a page shows, so that it is in the catalogue."""
    return text


class Catalogue:
    """The words of one language.

    Args:
        entries: English text -> text.
    """

    def __init__(self, language: str, entries: dict[str, str]) -> None:
        self.language, self._entries = language, entries

    def say(self, text: Any) -> Any:
        """The text in this language; itself where the catalogue does not have it, or it is no text."""
        if not isinstance(text, str):
            return text
        bare = text.strip()
        said = self._entries.get(bare, bare)
        return text if said == bare else text.replace(bare, said, 1)

    def literal(self, text: str) -> str:
        """A literal of a template, translated and safe as HTML."""
        said = self.say(text)
        return text if said == text else html.escape(said)


@lru_cache(maxsize=8)
def catalogue(language: str = ENGLISH, folder: Path | None = None) -> Catalogue:
    """The catalogue of a language; raises FlywheelError when there is none.

    Args:
        folder: where an installation keeps languages of its own, before those that are shipped.
    """
    if not _CODE.fullmatch(language):
        raise FlywheelError(f"{language[:40]!r} is no language", remedy="write it as in en or de-AT")
    shipped = Path(str(files("flywheel.corrections.workbench"))) / "strings"
    places = [place for place in (folder, shipped) if place is not None]
    file = next((place / f"{language}.json" for place in places if (place / f"{language}.json").is_file()), None)
    if file is None:
        known = sorted({found.stem for place in places for found in place.glob("*.json")})
        raise FlywheelError(f"the workbench has no words in {language!r}", where=", ".join(map(str, places)),
                            remedy=f"there are: {', '.join(known)}; copy en.json, translate its right-hand sides")  # fmt: skip
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
            raise ValueError("an object from text to text is needed")
    except ValueError as error:
        raise FlywheelError(
            f"the words cannot be read: {error}"[:200], where=str(file), remedy="mend the JSON"
        ) from None
    return Catalogue(language, entries)


class Words(Extension):
    """Sends the literal text of templates through the environment's `catalogue`; gives the filter `t`."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.extend(catalogue=Catalogue(ENGLISH, {}))
        environment.filters["t"] = lambda text: environment.catalogue.say(text)  # type: ignore[attr-defined]

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:  # type: ignore[override]
        """The tokens of a template with its visible literals translated."""
        scanner = _Scanner()
        for token in stream:
            if token.type != "data":
                yield token
                continue
            said = "".join(
                self.environment.catalogue.literal(text) if shown else text  # type: ignore[attr-defined]
                for shown, text in scanner.split(token.value)
            )
            yield Token(token.lineno, "data", said)


class _Scanner:
    """Where in an HTML text we are, from one piece of it to the next; expressions lie between the pieces."""

    def __init__(self) -> None:
        self._quote, self._tag, self._in_tag, self._silent = "", "", False, ""

    def split(self, text: str) -> Iterator[tuple[bool, str]]:
        """(whether a person sees or hears it, text) of the parts of a piece."""
        start = 0
        for place, character in enumerate(text):
            if self._quote:
                if character == self._quote:
                    yield self._shown(text[start:place])
                    start, self._quote, self._tag = place, "", self._tag + '"'
            elif self._in_tag:
                if character in "\"'":
                    yield False, text[start : place + 1]
                    start, self._quote = place + 1, character
                elif character == ">":
                    self._close()
                    yield False, text[start : place + 1]
                    start = place + 1
                else:
                    self._tag += character
            elif character == "<":
                yield self._shown(text[start:place])
                start, self._in_tag, self._tag = place, True, ""
        yield self._shown(text[start:])

    def _shown(self, text: str) -> tuple[bool, str]:
        return self.shows() and bool(_LETTERS.search(text)), text

    def shows(self) -> bool:
        """Whether what stands here is seen or heard."""
        name = re.search(r"([\w:-]+)=$", self._tag)
        return name is not None and name[1] in _SHOWN if self._quote else not self._in_tag and not self._silent

    def _close(self) -> None:
        name = re.match(r"/?\w*", self._tag)
        said = name[0] if name else ""
        if said in _SILENT:
            self._silent = said
        elif said == f"/{self._silent}":
            self._silent = ""
        self._in_tag, self._tag = False, ""


def texts() -> list[str]:
    """Every text that the sources show, sorted: what `strings/en.json` has to hold."""
    folder = Path(str(files("flywheel.corrections.workbench")))
    found: set[str] = set(_NAMES)
    for file in (folder / "templates").glob("*.html"):
        found |= template_texts(file.read_text(encoding="utf-8"))
    for place in (folder, folder.parent / "partner"):
        for file in place.glob("*.py"):
            found |= python_texts(file.read_text(encoding="utf-8"))
    script = (folder / "static" / "workbench.js").read_text(encoding="utf-8")
    found |= {text.replace("\\'", "'") for text in _SCRIPT.findall(script)}
    return sorted(text for text in found if _LETTERS.search(text))


def script_texts() -> list[str]:
    """What the script says by itself."""
    script = (Path(str(files("flywheel.corrections.workbench"))) / "static" / "workbench.js").read_text(
        encoding="utf-8"
    )
    return sorted({text.replace("\\'", "'") for text in _SCRIPT.findall(script)})


def template_texts(source: str) -> set[str]:
    """The literal texts of one template: between its tags, and under the filter `t`."""
    environment = Environment(extensions=[Words])
    heard: set[str] = set()

    class _Listening(Catalogue):
        def literal(self, text: str) -> str:
            heard.add(text.strip())
            return text

    environment.catalogue = _Listening(ENGLISH, {})  # type: ignore[attr-defined]
    tree = environment.parse(source)
    for found in tree.find_all(nodes.Filter):
        if found.name == "t" and found.node is not None:
            heard |= {text.strip() for text in _results(found.node)}
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "act" and len(call.args) > 1:
            heard |= {text.strip() for text in _results(call.args[1])}
    return heard


def bypassing(source: str) -> list[str]:
    """Literal texts that a template would show without asking the catalogue: strings in expressions without the filter `t`."""
    scanner, found = _Scanner(), []

    def walk(node: nodes.Node) -> None:
        if not isinstance(node, nodes.Output):
            for child in node.iter_child_nodes():
                walk(child)
            return
        for part in node.nodes:
            if isinstance(part, nodes.TemplateData):
                list(scanner.split(part.data))
            elif scanner.shows():
                found.extend(text for text in _results(part) if _LETTERS.search(text))

    walk(Environment(extensions=[Words]).parse(source))
    return found


def python_texts(source: str) -> set[str]:
    """The literal texts of one Python file that a page shows."""
    found: set[str] = set()
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id not in _PYTHON:
            continue
        shown = [call.args[place] for place in _PYTHON[call.func.id] if place < len(call.args)]
        shown += [keyword.value for keyword in call.keywords if keyword.arg == "remedy"]
        found |= {text for node in shown for text in _literals(node)}
    return found


def _literals(node: ast.AST) -> Iterator[str]:
    """Strings in an expression, but for those of f-strings, which are no whole sentences."""
    if isinstance(node, ast.JoinedStr):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if isinstance(node, (ast.IfExp, ast.Tuple, ast.List, ast.BoolOp)):
        for child in ast.iter_child_nodes(node):
            if not (isinstance(node, ast.IfExp) and child is node.test):
                yield from _literals(child)


def _results(node: nodes.Node) -> Iterator[str]:
    """String constants that may be an expression's value, or a part of it."""
    if isinstance(node, nodes.Const):
        if isinstance(node.value, str):
            yield node.value
    elif isinstance(node, nodes.CondExpr):
        yield from _results(node.expr1)
        if node.expr2 is not None:
            yield from _results(node.expr2)
    elif isinstance(node, nodes.Filter):
        if node.name != "t" and node.node is not None:
            yield from _results(node.node)
    elif isinstance(node, (nodes.And, nodes.Or, nodes.Add)):
        yield from _results(node.left)
        yield from _results(node.right)
    elif isinstance(node, nodes.Concat):
        for part in node.nodes:
            yield from _results(part)
    elif isinstance(node, nodes.Dict):
        for pair in node.items:
            yield from _results(pair.value)
    elif isinstance(node, nodes.Getitem):
        yield from _results(node.node)
    elif isinstance(node, nodes.Call):
        inner = node.node
        if isinstance(inner, nodes.Getattr) and inner.attr == "get":  # a dictionary's value, or the default
            yield from _results(inner.node)
        elif isinstance(inner, nodes.Name) and inner.name == "said" and node.args:
            yield from _results(node.args[0])


def write_english() -> Path:
    """Write `strings/en.json` from the sources."""
    file = Path(str(files("flywheel.corrections.workbench"))) / "strings" / f"{ENGLISH}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({text: text for text in texts()}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return file


# Names of states, reasons and roles that pages show with their underscores as spaces.
_NAMES = (
    "queued", "claimed", "submitted", "auto checked", "in review", "disputed", "adjudicating", "accepted", "dropped", "released", "open",
    "auditing", "passed", "failed", "sent back", "refused", "no ground truth", "tool bug", "policy gap", "not a failure", "good",
    "acceptable", "wrong", "critical", "major", "minor", "reason", "note", "erasure", "poisoning", "guideline change", "mistake",
    "active seconds", "seconds to first edit", "active seconds per accepted", "cost", "cost per accepted",
    "another step was wrong first", "wrong tool", "wrong arguments", "not what the guidelines say", "another answer is needed",
)  # fmt: skip


if __name__ == "__main__":
    print(write_english())
