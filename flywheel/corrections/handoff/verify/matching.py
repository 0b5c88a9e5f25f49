"""Does a pattern occur in a text? A walk over sets of positions: polynomial time, and a budget instead of a hang."""

from functools import lru_cache

from .patterns import Node, Test, is_word, parse

BUDGET = 3_000_000


class TooMuchWork(ValueError):
    """The pattern needs more steps on this text than the budget allows."""


def search(pattern: str, text: str) -> bool:
    """Whether the pattern matches anywhere in the text.

    Raises UnsupportedPattern for what both engines do not read alike, TooMuchWork past BUDGET steps (some seconds).
    """
    walk = _Walk(text)
    root = _parsed(pattern)
    return any(walk.ends(root, start) for start in range(len(text) + 1))


@lru_cache(maxsize=1_000)
def _parsed(pattern: str) -> Node:
    return parse(pattern)


class _Walk:
    def __init__(self, text: str) -> None:
        self._text, self._steps = text, 0
        self._known: dict[tuple[int, int], frozenset[int]] = {}

    def ends(self, node: Node, start: int) -> frozenset[int]:
        """Every position at which a match of `node` that begins at `start` can end."""
        self._spend(1)
        text = self._text
        match node.kind:
            case "char":
                fits = start < len(text) and node.test is not None and node.test(text[start])
                return frozenset((start + 1,)) if fits else frozenset()
            case "start":
                return frozenset((start,)) if start == 0 else frozenset()
            case "end":
                return frozenset((start,)) if start == len(text) else frozenset()
            case "boundary":
                before = start > 0 and is_word(text[start - 1])
                after = start < len(text) and is_word(text[start])
                return frozenset((start,)) if (before != after) is not node.negative else frozenset()
        key = (id(node), start)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._inner(node, start)
        return known

    def _inner(self, node: Node, start: int) -> frozenset[int]:
        match node.kind:
            case "sequence":
                reached = frozenset((start,))
                for part in node.parts:
                    reached = self._step(part, reached)
                    if not reached:
                        break
                return reached
            case "choice":
                return frozenset().union(*(self.ends(part, start) for part in node.parts))
            case "repeat":
                return self._repeated(node, start)
        inner = node.parts[0]
        if node.behind:
            found = any(start in self.ends(inner, begin) for begin in range(start, -1, -1))
        else:
            found = bool(self.ends(inner, start))
        return frozenset((start,)) if found is not node.negative else frozenset()

    def _repeated(self, node: Node, start: int) -> frozenset[int]:
        inner, reached = node.parts[0], frozenset((start,))
        if inner.kind == "char" and inner.test is not None:
            return self._run(inner.test, node, start)
        for _ in range(node.least):
            reached = self._step(inner, reached)
        every, fresh, rounds = reached, reached, node.least
        while fresh and (node.most is None or rounds < node.most):
            fresh = self._step(inner, fresh) - every
            every, rounds = every | fresh, rounds + 1
            self._spend(len(every) // 64)
        return every

    def _run(self, test: Test, node: Node, start: int) -> frozenset[int]:
        """The commonest repetition, of one character, without a round for each."""
        text, stop = self._text, start
        limit = len(text) if node.most is None else min(len(text), start + node.most)
        while stop < limit and test(text[stop]):
            stop += 1
        self._spend(stop - start)
        return frozenset(range(start + node.least, stop + 1))

    def _step(self, part: Node, reached: frozenset[int]) -> frozenset[int]:
        self._spend(len(reached))
        if len(reached) == 1:
            return self.ends(part, next(iter(reached)))
        return frozenset().union(*(self.ends(part, place) for place in reached))

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > BUDGET:
            raise TooMuchWork(f"the pattern needs more than {BUDGET:,} steps on this text")
