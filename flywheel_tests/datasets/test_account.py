"""Whatever comes in, every candidate is either kept or left out with a reason, once; what is lost to length is named."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.benchmark.leaks import Leak
from flywheel.chat import Renderer
from flywheel.datasets.account import lost_to_length
from flywheel.datasets.build import build
from flywheel.datasets.mix import select
from flywheel.lake import TABLES, Lake
from flywheel.lake.dataset_tables import BEFORE_ALL_WEEKS
from flywheel.workflows.pack import Caps, Datasets, Pack
from flywheel_tests.datasets.samples import WEEKS, correction, put, said, workshop

CANDIDATE = st.fixed_dictionaries({
    "week": st.sampled_from([BEFORE_ALL_WEEKS, *WEEKS[:3]]), "source": st.sampled_from(["correction", "demonstration", "verified", "replay"]),
    "row_id": st.sampled_from("abcdefghijkl"), "context_id": st.sampled_from("rst"), "answer_id": st.sampled_from("xy"),
    "shape_id": st.sampled_from("mn"), "near_duplicate_group": st.sampled_from("gh"), "template_id": st.sampled_from("uv"),
    "kept_out": st.sampled_from(["", "", "", "too_long"]), "remedy": st.sampled_from(["steps", "trajectory"]), "tool": st.sampled_from([None, "t"]),
    "failure_cluster": st.sampled_from(["c", "d"]), "principal_ref": st.sampled_from([None, "p", "q"]), "tenant_id": st.sampled_from([None, "z"]),
})  # fmt: skip
SETTINGS = st.builds(
    Datasets, row_budget=st.integers(1, 12), replay=st.floats(0, 0.5), demonstrations=st.floats(0, 1), verified_good=st.floats(0, 2),
    caps=st.builds(Caps, tenant=st.sampled_from([None, 0.3]), near_duplicate_group=st.sampled_from([None, 2]), template=st.sampled_from([None, 1])),
)  # fmt: skip


def frame(rows: list[dict]) -> pl.DataFrame:
    """Candidates as `select` wants them."""
    kinds = TABLES["training_steps"].polars_schema() | {"near_duplicate_group": pl.String}
    names = ("week", "source", "row_id", "source_id", "message_index", "context_id", "answer_id", "shape_id", "near_duplicate_group",
             "template_id", "kept_out", "detail", "remedy", "tool", "failure_cluster", "principal_ref", "tenant_id")  # fmt: skip
    return pl.DataFrame(rows, schema={name: kinds[name] for name in names})


@settings(max_examples=80, deadline=None)
@given(st.lists(CANDIDATE, max_size=25), SETTINGS, st.sets(st.sampled_from("abcdefghijkl"), max_size=3), st.randoms())
def test_read_is_kept_plus_left_out_whatever_comes_in(rows: list[dict], rules: Datasets, leaking: set[str], shuffled):
    rows = [
        {**row, "source_id": f"s{number}", "message_index": number, "detail": ""} for number, row in enumerate(rows)
    ]

    def leaks(chosen):
        return [Leak(row["row_id"], "case", "exact", 1.0) for row in chosen if row["row_id"] in leaking]

    mix = select(frame(rows), leaks, rules, week=WEEKS[2])
    kept = [row["source_id"] for row in mix.kept]
    out = mix.left_out["source_id"].to_list()
    assert sorted(kept + out) == sorted(row["source_id"] for row in rows)
    assert len(kept) <= rules.row_budget and (mix.left_out["reason"] != "").all()
    assert not {row["row_id"] for row in mix.kept} & leaking
    answers: dict[str, set[str]] = {}
    for row in mix.kept:
        if row["source"] != "replay":
            answers.setdefault(row["context_id"], set()).add(row["answer_id"])
    assert all(len(given) == 1 for given in answers.values()), "no context is answered twice"
    shuffled.shuffle(rows)
    assert [row["source_id"] for row in select(frame(rows), leaks, rules, week=WEEKS[2]).kept] == kept


def test_a_correction_that_is_too_long_is_named_and_one_in_conflict_is_not_lost(
    pack: Pack, renderer: Renderer, lake: Lake
):
    shop = workshop(lake, pack, renderer)
    put(shop, WEEKS[0], correction(pack, "long " * 3000, said("ok"), correction_id="long"), correction(pack, "hm", said("a")),
        correction(pack, "hm", said("b")), correction(pack, "fine", said("c")))  # fmt: skip
    made = build(shop, WEEKS[0])
    lake.replace_partition("sft_dataset", made.sft, workflow=pack.name, week=WEEKS[0])
    lake.replace_partition("dataset_left_out", made.left_out, workflow=pack.name, week=WEEKS[0])
    assert lost_to_length(lake, pack.name, WEEKS[0]) == (["long"], 4)
