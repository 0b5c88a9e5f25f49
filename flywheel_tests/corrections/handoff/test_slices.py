"""Slices of a batch: every item in exactly one, twins apart, each signed and judged by itself."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.corrections.handoff.export import export_slices
from flywheel.corrections.handoff.importing import handed_out, import_return
from flywheel.corrections.handoff.slices import sliced
from flywheel.corrections.items import Item
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.handoff.house import batch_of, build, correction, decision, items, part


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=24),
    st.integers(1, 5),
    st.sets(st.integers(0, 23), max_size=4),
)
def test_every_item_is_in_one_slice_and_twins_are_apart(clusters: list[str], count: int, twinned: set[int]):
    made = [Item(f"i{n:02d}", n, [], [], 0, cluster, "", "", "") for n, cluster in enumerate(clusters)]
    twins = [
        (made[n].item_id, made[n + 1].item_id)
        for n in sorted(twinned)[::2]
        if n + 1 < len(made) and n + 1 not in twinned
    ]
    if count > len(made):
        with pytest.raises(FlywheelError, match="do not make"):
            sliced(made, twins, count)
        return
    slices = sliced(made, twins, count)
    assert all(slices)
    assert sorted(item.item_id for one in slices for item in one) == [item.item_id for item in made]
    assert slices == sliced(made, twins, count)
    assert max(map(len, slices)) <= -(-len(made) // count) + len(twins)
    for one in slices:
        held = {item.item_id for item in one}
        assert count == 1 or not any({first, second} <= held for first, second in twins)


def test_each_slice_is_a_signed_batch_of_its_own(tmp_path: Path, pack: Pack):
    house = build(tmp_path, pack, 5)
    outs = [tmp_path / "slices" / f"slice-{number}" for number in (1, 2)]
    made = export_slices(
        house.store, house.lake, pack, batch_of(house.store), outs, keys=tmp_path / "qa" / "keys", partner="acme"
    )
    handed = [handed_out(out, made[0].fingerprint) for out in outs]
    assert [one.manifest["slice"] for one in handed] == [{"number": 1, "of": 2}, {"number": 2, "of": 2}]
    assert not set(handed[0].items) & set(handed[1].items) and len(handed[0].items) + len(handed[1].items) == 5
    for number, out in enumerate(outs, 1):
        one = house._replace(folder=out, returns=tmp_path / f"returns-{number}")
        one.returns.mkdir()
        found = items(one)
        part(
            one,
            [correction(item) for item in found],
            decisions=[decision(item["item_id"]) for item in found],
            complete=True,
        )
        done = import_return(house.store, house.lake, handed[number - 1], one.returns)
        assert done.verdict.report["verdict"] == "accepted" and len(done.decided) == len(found)
    crossed = import_return(house.store, house.lake, handed[1], tmp_path / "returns-1")
    assert crossed.verdict.report["verdict"] == "rejected" and crossed.verdict.report["findings"][0]["rule_id"] == "V17"
    with pytest.raises(FlywheelError, match="holds something else"):
        export_slices(house.store, house.lake, pack, batch_of(house.store), [outs[0], tmp_path / "new"], keys=tmp_path / "qa" / "keys", partner="other")  # fmt: skip
    assert not (tmp_path / "new").exists()
