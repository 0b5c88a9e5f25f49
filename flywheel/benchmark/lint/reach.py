"""Can the expectation be reached at all? Replies by words, episodes by playing their gold actions, everything within its budget."""

import json
from collections.abc import Callable
from typing import Any

from flywheel.benchmark.cases import Case, EpisodeExpectation, ReplyExpectation
from flywheel.benchmark.lint.finding import Finding, Findings
from flywheel.benchmark.matchers import equal
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json
from flywheel.toolcalls.results import error_in
from flywheel.toolcalls.schema_check import check_call
from flywheel.workflows.pack import Pack

# No tokenizer makes fewer tokens of a text than one for so many characters; used where the base model is not at hand.
_MOST_CHARACTERS_A_TOKEN = 10

CountTokens = Callable[[str], int]


def reach_findings(case: Case, pack: Pack, count: CountTokens | None = None) -> Findings:
    """What cannot be reached; `count` gives the tokens of a text, None where no tokenizer is at hand."""
    expectation = case.expectation
    if expectation.kind == "reply":
        yield from _reply(case, expectation, pack.settings.decoding.max_tokens, count)
    elif expectation.kind == "episode":
        yield from _budget(case, expectation)
        yield from _played(case, expectation, pack)
    elif expectation.kind == "answer":
        text = canonical_json({name: _shortest(rule) for name, rule in expectation.fields.items()})
        yield from _fits(case, f"the expected {expectation.response}", text, pack, count)
    else:
        values = [{name: _shortest(rule) for name, rule in call.arguments.items()} for call in expectation.calls]
        text = canonical_json(
            [{"name": call.name, "arguments": v} for call, v in zip(expectation.calls, values, strict=True)]
        )
        yield from _fits(case, "the expected calls", text, pack, count)


def _fits(case: Case, what: str, text: str, pack: Pack, count: CountTokens | None) -> Findings:
    """The shortest of what is right, against the tokens that the model may write."""
    tokens, limit = _tokens(text, count), pack.settings.decoding.max_tokens
    if tokens > limit:
        yield Finding("error", "too_long", case.id, f"{what} take{'' if what.endswith('calls') else 's'} {tokens} tokens, decoding.max_tokens is {limit}",
                      "raise decoding.max_tokens, as in production, or shorten the expectation")  # fmt: skip


def _shortest(rule: dict[str, Any]) -> Any:
    """The shortest of what may be written for an argument."""
    if rule.get("may_omit"):
        return None
    if "one_of" in rule:
        return min(rule["one_of"], key=lambda value: len(canonical_json(value)))
    return next((rule[kind] for kind in ("exact", "casefold", "normalised_text", "set") if kind in rule), "")


def _tokens(text: str, count: CountTokens | None) -> int:
    return count(text) if count else len(text) // _MOST_CHARACTERS_A_TOKEN


def _reply(case: Case, expectation: ReplyExpectation, max_tokens: int, count: CountTokens | None) -> Findings:
    shortest = " ".join(min(group, key=len) for group in expectation.includes if group)
    if _tokens(shortest, count) > max_tokens:
        yield Finding("error", "too_long", case.id, f"what must be said takes more than the {max_tokens} tokens of decoding.max_tokens",
                      "ask for fewer phrases, or raise decoding.max_tokens, as in production")  # fmt: skip
    excluded = [phrase.casefold() for phrase in expectation.excludes]
    if "" in excluded:
        yield Finding(
            "error", "unreachable_reply", case.id, "an excluded phrase is empty, and stands in every reply", "remove it"
        )
        return
    for group in expectation.includes:
        barred = [phrase for phrase in group if any(one in phrase.casefold() for one in excluded)]
        if len(barred) == len(group):
            said = (
                f"no phrase of {', '.join(map(repr, group))} can be said without an excluded one"
                if group
                else "a group is empty"
            )
            yield Finding("error", "unreachable_reply", case.id, said, "correct includes or excludes")
        elif barred:
            yield Finding(
                "warning",
                "unreachable_phrase",
                case.id,
                f"{barred[0]!r} holds an excluded phrase",
                "remove it from its group",
            )
        if any(not phrase.strip() for phrase in group):
            yield Finding(
                "error",
                "matches_everything",
                case.id,
                "an empty phrase stands in every reply",
                "remove it from its group",
            )


def _budget(case: Case, expectation: EpisodeExpectation) -> Findings:
    """Each scripted reply is sent after an answer without a call, gold actions take a step at least, and the last step says the end."""
    least = len(expectation.replies) + bool(expectation.actions) + 1
    most = len(expectation.replies) + len(expectation.actions) + 1
    if least > expectation.max_steps:
        yield Finding("error", "too_long", case.id, f"needs {least} steps at least, max_steps is {expectation.max_steps}",
                      "raise max_steps, or send fewer replies")  # fmt: skip
    elif most > expectation.max_steps:
        yield Finding("warning", "too_long", case.id, f"takes {most} steps with one call a step, max_steps is {expectation.max_steps}",
                      "raise max_steps, unless the calls must be made together")  # fmt: skip


def _played(case: Case, expectation: EpisodeExpectation, pack: Pack) -> Findings:
    """Play the gold actions in a fresh world."""
    try:
        world, twin = (
            pack.environment(expectation.environment.seed, expectation.environment.overrides) for _ in range(2)
        )
        before = world.state()
        if not equal(before, twin.state()):
            yield Finding("error", "unstable_environment", case.id, "the same seed gives two different worlds",
                          "make environment.py depend on its seed and overrides only")  # fmt: skip
            return
        results = []
        for place, action in enumerate(expectation.actions):
            if wrong := check_call(pack.tools, action.name, action.arguments):
                yield Finding("error", "gold_action_fails", case.id, f"gold action {place} ({action.name}): {wrong[0].message}",
                              "correct its arguments")  # fmt: skip
                return
            results.append(world.call(action.name, action.arguments))
            if error := error_in(results[-1]):
                yield Finding("error", "gold_action_fails", case.id, f"gold action {place} ({action.name}) answers {error}",
                              "correct the action, or the case's environment")  # fmt: skip
                return
        after = world.state()
    except FlywheelError as error:
        yield Finding("error", "no_environment", case.id, error.what, error.remedy)
        return
    except Exception as error:  # the pack's own code
        yield Finding("error", "environment_fails", case.id, f"environment.py raises {type(error).__name__}: {error}",
                      "mend environment.py, or the case's overrides")  # fmt: skip
        return
    yield from _told(case, expectation, json.dumps([before, after, results], ensure_ascii=False))
    changed = not equal(before, after)
    if not changed and {action.name for action in expectation.actions} & pack.write_tools():
        yield Finding("error", "changes_nothing", case.id, "the gold actions write, and leave the world as it was",
                      "correct the action, or the case's environment")  # fmt: skip
    elif not changed and not expectation.outputs and case.category != "refusal":
        yield Finding("warning", "nothing_to_reach", case.id, "changes nothing and has nothing to say: doing nothing is right",
                      "add outputs, or make it a refusal case")  # fmt: skip


def _told(case: Case, expectation: EpisodeExpectation, world: str) -> Findings:
    """Outputs with a digit are facts; a fact that stands nowhere in the world or in what was said can only be guessed."""
    said = canonical_json([case.messages, expectation.replies])
    for output in expectation.outputs:
        if not output.strip():
            yield Finding(
                "error", "matches_everything", case.id, "an output is empty, and stands in every reply", "remove it"
            )
        elif any(character.isdigit() for character in output) and output.casefold() not in (world + said).casefold():
            yield Finding("warning", "unknowable_output", case.id, f"the output {output!r} stands nowhere in the world",
                          "check it against environment.py; a sum or a date the model computes is fine")  # fmt: skip
