"""From what a case generated to its result row: scores, failure, digest. Pure: the same stored outputs give the same scores.

Everything is computed from what is stored (transcript, finish reasons, why it stopped), an episode's end state by playing its calls
again in a fresh environment. So a changed scorer scores stored rows again, and nothing is generated for it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.benchmark.cases import Case, tools_of
from flywheel.benchmark.row_digest import DIGEST, row_sha256
from flywheel.detectors.finding import Rules, Toolbox
from flywheel.evaluation.scorers.episode import score_episode
from flywheel.evaluation.scorers.failure import Told, classify
from flywheel.evaluation.scorers.score import SCORER_VERSION, Score, counts
from flywheel.evaluation.scorers.step import score_step
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.environment import run_calls
from flywheel.workflows.pack import Pack

ANSWERED, MAX_STEPS, CONTEXT_LENGTH = "answered", "max_steps", "context_length"


class Scorer:
    """Scores rows of one pack's benchmark."""

    def __init__(self, pack: Pack, cases: Sequence[Case]) -> None:
        self._pack = pack
        self._cases = {case.id: case for case in cases}
        self._toolbox = Toolbox(pack.tools, Rules(tools=pack.tools, responses=pack.responses))

    def _toolbox_of(self, case: Case) -> Toolbox:
        return self._toolbox if case.tools is None else Toolbox(case.tools, Rules(tools=case.tools))

    def row(self, generated: Mapping[str, Any]) -> dict[str, Any]:
        """The EVAL_RESULTS row (without partition columns) of what a case generated; scores it may hold already are replaced.

        A case that ended in an infrastructure error has no score: it is counted, never scored 0.
        """
        case = self._cases[generated["case_id"]]
        transcript = json.loads(generated["transcript"])
        history, own = transcript[: len(case.messages)], transcript[len(case.messages) :]
        counted = counts(history, own, tools_of(case, self._pack.tools))._asdict()
        score = None if generated["infra_error"] else self._score(case, own, generated["stop_reason"])
        columns = {**generated, **counted, **self._columns(case, generated, transcript, score)}
        columns["scorer_version"] = SCORER_VERSION
        return {**columns, DIGEST: row_sha256(columns)}

    def _score(self, case: Case, own: list[dict[str, Any]], stop_reason: str) -> Score:
        expectation, pack, tools = case.expectation, self._pack, tools_of(case, self._pack.tools)
        if expectation.kind != "episode":
            response = pack.response(expectation.response) if expectation.kind == "answer" else None
            return score_step(case, own[-1], tools, response)
        gold = pack.environment(expectation.environment.seed, expectation.environment.overrides)
        for action in expectation.actions:
            gold.call(action.name, action.arguments)
        world = pack.environment(expectation.environment.seed, expectation.environment.overrides)
        for message in own:
            if message["role"] == "assistant":
                run_calls(world, message)
        volatile = pack.settings.evaluation.volatile_fields
        states = (gold.state(), world.state())
        return score_episode(case, own, states, stop_reason == ANSWERED, tools, volatile)

    def _columns(
        self, case: Case, generated: Mapping[str, Any], transcript: list[dict[str, Any]], score: Score | None
    ) -> dict[str, Any]:
        names = (
            "tool_selection", "arguments_match", "expected_calls", "compared_calls", "matched_calls", "forbidden_calls",
            "expects_call", "bfcl_compat",
        )  # fmt: skip
        failure = None
        if score and not score.success:
            told = Told(transcript, json.loads(generated["finish_reasons"]), generated["stop_reason"])
            failure = classify(case, told, score, self._toolbox_of(case), self._pack.system)
        return {
            "success": score.success if score else None,
            "failure_reason": score.reason if score else None,
            **{name: getattr(score, name) if score else None for name in names},
            "forbidden_calls": score.forbidden_calls if score else 0,
            "trajectory_match": canonical_json(score.trajectory) if score and score.trajectory else None,
            "failure_bucket": failure.bucket if failure else None,
            "failure_sub_kind": failure.sub_kind if failure else None,
            "failure_fault": failure.fault if failure else None,
            "failure_tags": canonical_json(failure.tags) if failure else None,
            "failure_message_index": failure.message_index if failure else None,
        }
