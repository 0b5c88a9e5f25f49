"""What an adapter was trained on, after the workflow changed its base model or family."""

import dataclasses
import json
from pathlib import Path

import pytest

from flywheel.chat.families import FAMILIES
from flywheel.errors import FlywheelError
from flywheel.evaluation.servers import server_spec
from flywheel.lake import Lake
from flywheel.promotion.pointer_file import pointer_of
from flywheel.promotion.releases import Releases
from flywheel.serving.adapters import ADAPTER_FILES
from flywheel.serving.configuration import Configuration
from flywheel.serving.trained_on import TrainedOn, trained_on, trained_on_each
from flywheel.workflows.base_model import find_base_model, write_manifest
from flywheel_tests.promotion.house import WEEKS, blank, decide, make_adapter, make_house

HERMES, PHI = (FAMILIES[name].template_sha256 for name in ("chatml_hermes", "phi4_mini"))


@pytest.fixture
def acts(tmp_path: Path) -> Releases:
    made = make_house(tmp_path)
    folder = made.settings.models() / "other-111111111111"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    write_manifest(folder, sha256="1" * 64, source="a test")
    return made


def trained(acts: Releases, adapter: str, base: str, template: str, week: str = WEEKS[0]) -> None:
    row = blank("checkpoint", adapter_id=adapter, base_model_sha256=base, chat_template_sha256=template)
    acts.lake.replace_partition("checkpoint", [row], workflow="door", week=week)


def found(acts: Releases, adapter: str) -> tuple[str, str]:
    own = acts.trained_on(adapter)
    return own.base.name, own.pack.settings.model_family


def test_today_is_what_nothing_else_is_known_of(acts: Releases):
    trained(acts, "adapter-a", acts.base.sha256, HERMES)
    for adapter in ("base", "adapter-unknown", "adapter-a"):
        assert acts.trained_on(adapter) == (acts.pack, acts.base)


def test_a_template_edited_since_is_today_s_and_another_family_s_is_its_own(acts: Releases):
    trained(acts, "adapter-a", acts.base.sha256, "edited")
    trained(acts, "adapter-b", acts.base.sha256, PHI, WEEKS[1])
    assert found(acts, "adapter-a") == ("tiny-random", "chatml_hermes")
    assert found(acts, "adapter-b") == ("tiny-random", "phi4_mini")


def test_another_base_is_found_by_its_hash_and_missed_in_words(acts: Releases):
    trained(acts, "adapter-a", "1" * 64, PHI)
    assert found(acts, "adapter-a") == ("other", "phi4_mini")
    trained(acts, "adapter-b", "1" * 64, "edited", WEEKS[1])
    trained(acts, "adapter-c", "2" * 64, HERMES, WEEKS[2])
    with pytest.raises(FlywheelError, match="no model family has the template that adapter-b"):
        acts.trained_on("adapter-b")
    with pytest.raises(FlywheelError, match="base model that adapter-c was trained on is not in the cache"):
        acts.trained_on("adapter-c")
    on, lost = trained_on_each(acts.lake, acts.pack, acts.base, acts.settings.models(), ["adapter-a", "adapter-c"])
    assert on["adapter-a"].base.name == "other" and on["adapter-c"].base == acts.base and list(lost) == ["adapter-c"]


def test_the_pointer_and_a_rollback_stay_on_the_old_base(acts: Releases):
    old = make_adapter(acts.settings, 1, base="other-111111111111")
    new = make_adapter(acts.settings, 2)
    for week, adapter, base in ((WEEKS[0], old, "1" * 64), (WEEKS[1], new, acts.base.sha256)):
        decide(acts, week, adapter, automatic=True)
        trained(acts, adapter, base, HERMES, week)
    assert pointer_of(acts.settings, acts.pack, acts.base, acts.log()).base_model.name == "tiny-random"
    assert acts.roll_back(by="Dana", reason="worse", override=True).entry["served_adapter_id"] == old
    pointer = pointer_of(acts.settings, acts.pack, acts.base, acts.log())
    assert (
        pointer.base_model.name == "other"
        and str(find_base_model(acts.settings.models(), "other").folder) in pointer.vllm_arguments
    )
    assert pointer.configuration["base_model_sha256"] == "1" * 64
    assert (
        trained_on(Lake(acts.settings.lake()), acts.pack, acts.base, acts.settings.models(), old).base.name == "other"
    )


def test_an_adapter_is_served_at_the_rank_it_was_trained_with_after_the_pack_asks_for_a_smaller_one(acts: Releases):
    own = acts.pack.settings
    training = own.training.model_copy(update={"lora_rank": 8})
    pack = dataclasses.replace(acts.pack, settings=own.model_copy(update={"training": training}))
    old = make_adapter(acts.settings, 1)
    config = acts.settings.checkpoints("door") / old / ADAPTER_FILES[0]
    config.write_text(json.dumps({**json.loads(config.read_text()), "r": 32}))
    checkpoints = acts.settings.checkpoints("door").absolute()
    for spec in (
        server_spec(acts.settings, TrainedOn(pack, acts.base), {old, "adapter-gone"}),
        Configuration("pack", pack, acts.base, old).server(checkpoints, threads=1),
    ):
        arguments = spec.arguments()
        assert arguments[arguments.index("--max-lora-rank") + 1] == "32", "vLLM refuses an adapter above it"
    assert server_spec(acts.settings, TrainedOn(pack, acts.base), {"adapter-gone"}).max_lora_rank == 8
