"""The canary's judgement: what is served must change something, and change it as PEFT has it. The real thing is slow."""

import json
from pathlib import Path

import pytest

from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.serving import canary
from flywheel.serving.vllm_server import ServerSpec
from flywheel.workflows.pack import Pack

BASE, TRAINED = [[-1.0, -2.0], [-3.0]], [[-0.5, -1.0], [-2.0]]


def shifted(values: list[list[float]], by: float) -> list[list[float]]:
    return [[value + by for value in row] for row in values]


def test_an_adapter_served_as_it_was_trained_passes_with_its_figures():
    (found,) = canary.compare(
        {"base": BASE, "a": shifted(TRAINED, 0.02)}, {"base": shifted(BASE, 0.04), "a": shifted(TRAINED, 0.06)}
    )
    assert (found.adapter, found.tokens) == ("a", 3)
    assert found.gap == pytest.approx(0.04) and found.gap_base == pytest.approx(0.04)
    assert found.effect_peft == pytest.approx(2.5 / 3 + 0.02)
    assert "differ by 0.040 (allowed 0.1" in found.sentence()


@pytest.mark.parametrize(
    ("served", "peft", "said"),
    [
        (BASE, BASE, "changes nothing, in PEFT neither"),
        (BASE, TRAINED, "accepted adapter a and applies nothing of it"),
        ([[-0.75, -1.5], [-2.5]], TRAINED, "what is served is not what was trained"),
        ([[float("nan"), -1.0], [-2.0]], TRAINED, "applies nothing"),
        (TRAINED, [[float("nan"), -1.0], [-2.0]], "changes nothing"),
    ],
)
def test_an_adapter_that_is_not_is_refused_with_what_to_do(served: list, peft: list, said: str):
    with pytest.raises(FlywheelError, match=said) as caught:
        canary.compare({"base": BASE, "a": served}, {"base": BASE, "a": peft})
    assert caught.value.remedy


def test_another_base_model_is_named_before_any_adapter_is_blamed():
    with pytest.raises(FlywheelError, match="on the base model itself"):
        canary.compare({"base": shifted(BASE, 0.2), "a": BASE}, {"base": BASE, "a": BASE})


def test_the_probes_are_fixed_words_and_a_fixed_call_after_the_packs_own_prompts(renderer: Renderer, pack: Pack):
    histories = [[{"role": "system", "content": pack.system}, {"role": "user", "content": text}] for text in "abc"]
    asked = canary.probes(renderer, histories, pack.tools)
    assert len(asked) == canary.PROBES
    assert [probe.prompt_ids for probe in asked] == [renderer.prompt_ids(h, pack.tools) for h in histories[:2]]
    assert "tool_call" in renderer.decode(asked[1].target_ids) and "looked into it" in renderer.decode(
        asked[0].target_ids
    )


def test_a_reference_child_that_fails_says_why(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    spec = ServerSpec(tmp_path / "model", tmp_path / "t.jinja")
    with pytest.raises(FlywheelError, match="no-such-model") as caught:
        with canary.reference(spec, [canary.Probe([1], [2])], folder=tmp_path / "canary") as peft:
            peft.answer()
    assert "python -m flywheel.serving.reference" in caught.value.remedy
