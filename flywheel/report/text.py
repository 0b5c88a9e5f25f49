"""Text from traces on its way to a page: shown, never active."""

import html
from typing import Any

from flywheel.chat.visible import visible

__all__ = ["escaped", "table", "visible"]


def escaped(value: Any) -> str:
    """The text for HTML, with control and bidirectional characters made visible instead of active."""
    return html.escape(visible(value))


def table(header: list[str], rows: list[list[Any]], numbers: int = 0) -> str:
    """An HTML table whose last `numbers` columns are right-aligned; cells are escaped."""
    first_number = len(header) - numbers

    def cells(tag: str, values: list[Any]) -> str:
        return "".join(
            f"<{tag}{' class=number' if index >= first_number else ''}>{escaped(value)}</{tag}>"
            for index, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{cells("th", header)}</tr></thead><tbody>{body}</tbody></table></div>'
    )
