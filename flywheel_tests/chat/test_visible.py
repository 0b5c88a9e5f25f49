"""Foreign text in Markdown, as a common renderer reads it: shown, and nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flywheel.chat.visible import in_markdown
from flywheel.defs.metadata import markdown_table

READER = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
HOSTILE = (
    "![x](http://evil/?who)", "[click](javascript:alert(1))", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a | b | c", "`code`",
    "\\![x](http://evil)", "[x]: http://evil", "&lt;b&gt; &#60;script&#62;", "# heading", "~~gone~~", "**bold**", "\n\n# two\n\n- three", "<http://evil>",
)  # fmt: skip
PIECES = [
    "[",
    "]",
    "(",
    ")",
    "!",
    "<",
    ">",
    "`",
    "|",
    "\\",
    "\n",
    "http://e",
    "a",
    " ",
    "#",
    "*",
    "~",
    "&lt;",
    "&#60;",
    ":",
    "-",
    '"',
    "www.e.org",
]


def tags(markdown: str) -> set[str]:
    return set(re.findall(r"<\s*([a-z0-9]+)", READER.render(markdown)))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(text: str):
    assert tags(f"before {in_markdown(text)}") == {"p"}
    assert tags(f"- {in_markdown(text)}") == {"ul", "li"}
    assert "://" not in in_markdown(text) and "www." not in in_markdown("see www.evil.org")
    table = str(markdown_table([{"asked": text, "n": 1}, {"asked": "z" * 89 + "|" + text, "n": 2}]).value)
    assert tags(table) == {"table", "thead", "tr", "th", "tbody", "td"} and READER.render(table).count("<td>") == 4


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_so_is_any_mixture(text: str):
    assert not tags(f"before {in_markdown(text)}") & {"a", "img", "script", "code", "h1", "s", "strong", "table"}
    assert READER.render(str(markdown_table([{"asked": text, "n": 1}]).value)).count("<td>") == 2


def test_what_is_read_is_what_was_written():
    shown = READER.render(in_markdown(r"a_b < c [d] *e* \f `g` & h"))
    assert shown == "<p>a_b &lt; c [d] *e* \\f `g` &amp; h</p>\n"
