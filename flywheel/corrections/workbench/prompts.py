"""Prompts for the demonstrate pages: what is to be shown, and who takes what was shown. Ports only; the workbench keeps no demonstration."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from flywheel.corrections.proposal import Message


class Prompt(NamedTuple):
    """What is to be shown.

    Attributes:
        id, name: in addresses, and as the task's author named it.
        messages: what is given, the system prompt first, a person's or a tool's message last.
        replies: what the person says further, in order.
        seed, overrides: the world it plays in; None where it has none.
        recorded: a run whose results the tools say again.
        shown_by: who showed it already.
        conversation_id: of the run it was made of; None where somebody wrote it.
    """

    id: str
    name: str
    messages: Sequence[Message]
    replies: Sequence[str] = ()
    seed: int | None = None
    overrides: dict[str, Any] | None = None
    recorded: Sequence[Message] = ()
    shown_by: tuple[str, ...] = ()
    conversation_id: str | None = None


class Demonstrations(Protocol):
    """Where prompts come from, and where finished runs go."""

    def prompts(self) -> list[Prompt]:
        """Every prompt, in order, with who showed it."""
        ...

    def keep(self, prompt: Prompt, messages: list[Message], *, by: str, effort: dict[str, Any]) -> None:
        """Take a finished run and what the page measured of the work; raises FlywheelError saying what is wrong with it."""
        ...
