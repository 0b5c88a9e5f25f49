"""Tags of items (language and skills) by the pack's rules, and who may be handed which item.

Tags follow from the item and the pack as it is now; nothing is stored, so that a new rule tags an open batch too.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from flywheel.corrections.items import Item
from flywheel.errors import FlywheelError
from flywheel.workflows.skill_settings import Skills

_SURE = 0.7  # of a language, among those the pack names; below it the item asks for none
_ENOUGH = 2_000  # characters of what the person wrote


def tagged(items: Mapping[str, Item], skills: Skills) -> dict[str, Item]:
    """The items with the language the person writes in and the skills they ask for; raises FlywheelError for an unknown language."""
    if len(skills.languages) < 2 and not skills.rules:
        return dict(items)
    return {key: _tagged(item, skills) for key, item in items.items()}


class Matching(NamedTuple):
    """Who may be handed which item.

    Attributes:
        needs: item -> the tags it asks for.
        people: name -> what they have; None where the pack names nobody, and then every item is for everybody.
    """

    needs: dict[str, frozenset[str]]
    people: dict[str, frozenset[str]] | None

    def fits(self, item_id: str, actor: str) -> bool:
        """Whether the person has everything the item asks for. Who is not named has no skills, and gets what asks for none."""
        asked = self.needs.get(item_id, frozenset())
        return self.people is None or asked <= self.people.get(actor, frozenset())

    def nobody(self, item_ids: Iterable[str]) -> list[tuple[str, int]]:
        """(tags, items) for which no one person has all that is asked for, the most first; such items are handed to nobody."""
        if self.people is None:
            return []
        alone = Counter(
            ", ".join(sorted(asked)) for item_id in item_ids
            if (asked := self.needs.get(item_id, frozenset())) and not any(asked <= held for held in self.people.values())
        )  # fmt: skip
        return alone.most_common()


def matching_of(items: Mapping[str, Item], skills: Skills) -> Matching:
    """The matching for tagged items."""
    needs: dict[str, frozenset[str]] = {}
    for key, item in items.items():
        asked: frozenset[str] = frozenset(item.skills) | ({item.language} if item.language else set())
        if asked:
            needs[key] = asked
    people = {name: frozenset(held) for name, held in skills.people.items()}
    return Matching(needs, people or None)


def language_of(text: str, languages: tuple[str, ...]) -> str:
    """The one of `languages` that a text is written in; empty when that is not clear. Nothing leaves the machine.

    Raises FlywheelError for a code that the identifier (py3langid: Lui and Baldwin 2012, a naive Bayes over byte n-grams) does not know.
    """
    if len(languages) < 2 or not text.strip():
        return ""
    language, sure = _identifier(languages).classify(text)
    return language if sure >= _SURE else ""


@lru_cache(maxsize=1)
def _model() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # it loads numpy and its model: only for packs that ask

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@lru_cache(maxsize=8)
def _identifier(languages: tuple[str, ...]) -> Any:
    found = copy.copy(_model())  # narrowing replaces its arrays and changes none
    try:
        found.set_languages(languages)
    except ValueError as error:
        raise FlywheelError(
            f"{error}", where="workflow.yaml, skills.languages", remedy="use ISO 639-1 codes, as in en, de, fr"
        ) from None
    return found


def _tagged(item: Item, skills: Skills) -> Item:
    words = "\n".join(str(message.get("content") or "") for message in item.messages if message["role"] == "user")
    called = {call["function"]["name"] for call in item.messages[item.message_index].get("tool_calls") or []}
    found = {rule.skill for rule in skills.rules if rule.holds(called, item.bucket, item.failure_cluster)}
    return item._replace(language=language_of(words[:_ENOUGH], skills.languages), skills=tuple(sorted(found)))
