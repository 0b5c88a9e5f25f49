"""What a week's training starts from: the incumbent only where all that it knows may still be known."""

import dataclasses
import json
from pathlib import Path

import pytest

from flywheel.chat.families import FAMILIES
from flywheel.evaluation.prequential import trained_before
from flywheel.promotion.releases import Releases
from flywheel.serving.ancestry import ancestors, descendants, trained_from
from flywheel.training.start import Start, start_of
from flywheel_tests.promotion.house import WEEKS, blank, make_adapter, make_house

HERMES = FAMILIES["chatml_hermes"].template_sha256


def going_on(acts: Releases, **training: object) -> Releases:
    settings = acts.pack.settings
    values = {"start": "incumbent", "lora_rank": 4, "lora_alpha": None, **training}
    own = settings.training.model_copy(update=values)
    return acts._replace(pack=dataclasses.replace(acts.pack, settings=settings.model_copy(update={"training": own})))


def write_week(acts: Releases, week: str, adapter: str, start: str | None, **row: object) -> None:
    """A week's datasets, and a checkpoint that was trained on just those versions."""
    versions = {}
    for table in ("sft_dataset", "preference_dataset"):
        acts.lake.replace_partition(table, [dataset_row(table, week)], workflow="door", week=week)
        known = acts.lake.lineage(table, workflow="door", week=week)
        assert known
        versions[f"{table}/{week}"] = known.version
    trained = {"base_model_sha256": acts.base.sha256, "chat_template_sha256": HERMES, **row}
    made = blank("checkpoint", adapter_id=adapter, start_adapter_id=start, **trained)
    acts.lake.replace_partition("checkpoint", [made], workflow="door", week=week, inputs=versions)


def dataset_row(table: str, week: str) -> dict[str, object]:
    said = [{"role": "user", "content": f"open {week}"}]
    own = (
        {"target": "{}", "near_duplicate_group": f"g{week}"}
        if table == "sft_dataset"
        else {"chosen": "{}", "rejected": "{}"}
    )
    return blank(table, row_id=f"r{week}", source_id=f"s{week}", conversation_id=f"c{week}", trace_id=f"t{week}", tools="[]",
                 messages=json.dumps(said), **own)  # fmt: skip


@pytest.fixture
def acts(tmp_path: Path) -> Releases:
    """Two weeks: the second one's adapter went on from the first one's."""
    made = going_on(make_house(tmp_path))
    made.lake.replace_partition("benchmark", [], workflow="door")
    first, second = make_adapter(made.settings, 1), make_adapter(made.settings, 2)
    write_week(made, WEEKS[0], first, None)
    write_week(made, WEEKS[1], second, first)
    return made


def chain(acts: Releases) -> tuple[str, str]:
    first, second = trained_from(acts.lake, "door")["adapter_id"]
    return first, second


def start(acts: Releases, incumbent: str, **given: object) -> Start:
    return start_of(acts.lake, acts.settings, acts.pack, acts.base, incumbent=incumbent,
                    **{"template_sha256": HERMES, **given})  # type: ignore[arg-type]  # fmt: skip


def test_it_goes_on_from_the_incumbent_where_the_pack_says_so(acts: Releases):
    first, second = chain(acts)
    assert start(acts, second) == Start(second, f"goes on from {second}")
    assert start(going_on(acts, start="base"), second).adapter_id is None
    assert "base model serves" in start(acts, "base").because
    assert list(ancestors(trained_from(acts.lake, "door"), second).items()) == [(second, WEEKS[1]), (first, WEEKS[0])]
    assert descendants(trained_from(acts.lake, "door"), {first}) == {second: WEEKS[1]}


@pytest.mark.parametrize(
    ("changes", "given", "said"),
    [
        ({"lora_rank": 8}, {}, "has another r"),
        ({}, {"template_sha256": "other"}, "another base model or template"),
        ({}, {"incumbent": "adapter-unknown"}, "no checkpoint knows adapter-unknown"),
    ],
)
def test_an_incumbent_that_does_not_fit_is_left(acts: Releases, changes: dict, given: dict, said: str):
    found = start(going_on(acts, **changes), **{"incumbent": chain(acts)[1], **given})
    assert found.adapter_id is None and said in found.because, found


def test_one_whose_files_were_changed_is_left(acts: Releases):
    second = chain(acts)[1]
    file = acts.settings.checkpoints("door") / second / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes() + b"\0")
    assert "was changed after it was exported" in start(acts, second).because


def test_a_dataset_written_again_anywhere_in_the_chain_starts_afresh(acts: Releases):
    second = chain(acts)[1]
    acts.lake.replace_partition("sft_dataset", [], workflow="door", week=WEEKS[0], code_version="erased")
    assert f"sft_dataset of {WEEKS[0]} was written again" in start(acts, second).because


def test_a_withdrawal_anywhere_in_the_chain_starts_afresh(acts: Releases):
    first, second = chain(acts)
    assert f"{first} trained on something withdrawn" in start(acts, second, withdrawn={first}).because


def test_an_ancestor_whose_week_trained_another_adapter_since_starts_afresh(acts: Releases):
    """As after a withdrawal and a rebuild: nobody can look at what the ancestor learned from any more."""
    first, second = chain(acts)
    write_week(acts, WEEKS[0], make_adapter(acts.settings, 3), None)
    found = start(acts, second)
    assert (
        found.adapter_id is None
        and f"no checkpoint knows {first} any more, which {second} went on from" in found.because
    )


def test_a_case_frozen_since_starts_afresh(acts: Releases, monkeypatch: pytest.MonkeyPatch):
    second = chain(acts)[1]
    monkeypatch.setattr(
        "flywheel.training.start.leaks_in",
        lambda rows, registry: ["leak"] if rows["row_id"][0] == f"r{WEEKS[0]}" else [],
    )
    assert f"1 rows of sft_dataset of {WEEKS[0]}" in start(acts, second).because


def test_the_prequential_score_asks_nothing_that_the_chain_has_seen(acts: Releases):
    seen = trained_before(acts.lake, "door", WEEKS[2], {"checkpoint": WEEKS[1]})
    alone = trained_before(acts.lake, "door", WEEKS[2], {"checkpoint": WEEKS[0]})
    assert len(seen.histories) == 2 and len(alone.histories) == 1
