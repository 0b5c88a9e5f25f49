"""The candidate beside other models: on equal cases only, with what a difference is made of."""

from typing import Any

import polars as pl
import pytest

from flywheel.lake import TABLES
from flywheel.report.references import compare_with_references, comparison_lines, references_section

EMPTY = pl.DataFrame(schema=TABLES["reference_results"].polars_schema())


def ran(solved: list[bool | None], valid: list[bool] | None = None, **more: Any) -> pl.DataFrame:
    rows = [
        {"case_id": f"c{n:02d}", "case_cluster": f"k{n // 2}", "epoch": 0, "success": ok, "expects_call": True, "calls": 1, "schema_valid_calls": int(valid[n] if valid else True),
         "failure_tags": None, "benchmark_version": "b", "scorer_version": "s", **more}
        for n, ok in enumerate(solved)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"success": pl.Boolean, "failure_tags": pl.String})


def week() -> pl.DataFrame:
    return pl.concat(
        [
            ran([True] * 15 + [False] * 5, arm="candidate"),
            ran([True] * 5 + [False] * 15, [True] * 10 + [False] * 10, arm="incumbent"),
        ]
    )


def test_each_model_and_the_candidates_differences_with_their_parts():
    references = ran([True] * 18 + [False] * 2, reference="frontier")
    found = compare_with_references(week(), references)
    assert found and [(one.name, one.success.estimate, one.valid, one.right_if_valid) for one in found.models] == [
        ("candidate", 0.75, 1.0, 0.75), ("incumbent", 0.25, 0.5, 0.5), ("frontier", 0.9, 1.0, 0.9),
    ]  # fmt: skip
    before, frontier = found.against
    assert before.difference.mean == 0.5 and before.parts.format.value > 0 and before.parts.behaviour.value > 0
    assert abs(sum(part.value for part in before.parts) - 0.5) < 1e-9
    assert frontier.name == "frontier" and frontier.difference.mean < 0 < frontier.difference.upper + 0.2
    lines = "\n".join(comparison_lines(found))
    assert "candidate minus frontier: -15.0 (" in lines and "format +0.0" in lines and "behaviour -15.0" in lines


def test_cases_without_a_score_are_left_out_on_both_sides_and_n_says_so():
    references = ran([True] * 10 + [None] * 10, reference="elsewhere")
    found = compare_with_references(week(), references)
    assert found and found.against[1].difference.n == 10 and found.against[1].difference.mean == 0
    assert compare_with_references(week(), ran([None] * 20, reference="silent")).against[-1].name == "incumbent"  # type: ignore[union-attr]


def test_another_benchmark_is_no_comparison_and_is_named():
    references = pl.concat(
        [
            ran([True] * 20, reference="old", benchmark_version="a"),
            ran([True] * 20, reference="older", scorer_version="r"),
        ]
    )
    found = compare_with_references(week(), references)
    assert found and [one.name for one in found.models] == ["candidate", "incumbent"]
    assert found.left_out == [
        "old: run on other cases or under another scorer; run it again",
        "older: run on other cases or under another scorer; run it again",
    ]


@pytest.mark.parametrize("name", ["candidate", "incumbent"])
def test_a_reference_named_like_an_arm_takes_nobodys_place(name: str):
    base = ran([True] * 20, reference="base")
    references = pl.concat([ran([False] * 20, reference=name), base])
    found, without = (compare_with_references(week(), one) for one in (references, base))
    assert found and without and (found.models, found.against) == (without.models, without.against)
    assert [one.name for one in found.models] == ["candidate", "incumbent", "base"], "the base is no arm"
    assert found.left_out == [f"{name}: named like an arm of the week; run or import it again under another name"]
    page = references_section({"eval_results": week(), "reference_results": references})
    assert f"left out: {name}: named like" in page


def test_the_base_model_is_shown_without_any_reference_and_before_one_of_its_name():
    base = week().filter(arm="incumbent").with_columns(arm=pl.lit("base"), success=pl.lit(False))
    results, references = pl.concat([week(), base]), ran([True] * 20, reference="base")
    found = compare_with_references(results, references)
    assert found and [one.name for one in found.models] == ["candidate", "incumbent", "base"]
    assert found.models[-1].success.estimate == 0.0 and found.left_out[0].startswith("base: named like an arm")
    tables = {"eval_results": results, "reference_results": references.clear()}
    assert "Beside other models" in references_section(tables)
    assert references_section({**tables, "eval_results": week()}) == ""


def test_what_could_not_be_read_as_a_call_is_not_valid():
    told = ran([False] * 4, failure_tags='["schema_violation"]', arm="candidate")
    found = compare_with_references(told, EMPTY)
    assert (
        found
        and found.models[0].valid == 0
        and found.models[0].right_if_valid is None
        and "unknown" in "\n".join(comparison_lines(found))
    )


def test_the_section_needs_a_reference_and_stays_inert():
    tables = {"eval_results": week(), "reference_results": ran([True] * 20, reference="<script>x")}
    page = references_section(tables)
    assert "Beside other models" in page and "<script" not in page and "candidate minus" in page
    assert references_section({**tables, "reference_results": EMPTY}) == ""
    assert references_section({**tables, "eval_results": week().clear()}) == ""


def test_words_where_a_call_is_due_are_not_valid_and_elsewhere_they_are():
    told = pl.concat([ran([False] * 4, arm="candidate"), ran([True] * 4, arm="incumbent")]).with_columns(
        calls=0, schema_valid_calls=0
    )
    found = compare_with_references(told, EMPTY)
    assert found and [one.valid for one in found.models] == [0, 0]
    free = compare_with_references(told.with_columns(expects_call=pl.lit(None, pl.Boolean)), EMPTY)
    assert free and [one.valid for one in free.models] == [1, 1]
