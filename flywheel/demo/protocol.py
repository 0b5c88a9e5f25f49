"""What a simulation offers to the simulated week: goals, customers and experts, in this shape for every demo pack."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

Message = dict[str, Any]
Agent = Callable[[list[Message]], Awaitable[Message]]


@dataclass(frozen=True)
class Wish:
    """One thing a customer wants: `kind` names it, `facts` holds what the right call needs."""

    kind: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """What a simulated customer really wants, hidden from the week's stages.

    Attributes:
        goal_id: also the source id of the run.
        wishes: in the order they are to be met.
        opening: first message.
        answers: what the customer says when asked: {"order_number": text, "email": text}.
        seed, overrides: the world the conversation plays in.
        principal: pseudonym of the customer.
    """

    goal_id: str
    wishes: list[Wish]
    opening: str
    answers: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)
    principal: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Goal":
        """Back from JSON values."""
        return cls(**{**value, "wishes": [Wish(**wish) for wish in value["wishes"]]})


class Step(NamedTuple):
    """The right next assistant message, and what a reply must say to be as good (empty for calls)."""

    message: Message
    must_say: list[list[str]]


class Simulation(Protocol):
    """A demo pack's customers and the policy its experts follow; a module may serve."""

    def make_goals(self, seed: int, count: int, week: str, tools: Collection[str] = ()) -> list[Goal]:
        """Seeded customers of one week; before the first, of the demonstrations: `run` or `step` instead of a week.

        `tools` are the names of the tools the workflow has that week.
        """
        ...

    def solve(self, goal: Goal, messages: list[Message]) -> Step:
        """The right next assistant step after `messages` (system prompt included)."""
        ...

    def answer(self, goal: Goal, messages: list[Message], objections: int) -> str | None:
        """What the customer says to the assistant's last reply, or None when they are done."""
        ...

    def careless(self, message: Message, rng: Any) -> Message:
        """A realistic mistake in an assistant message: what a tired annotator might submit."""
        ...
