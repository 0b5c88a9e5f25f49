"""The blind sample and what is made of it: drawn once for ever, tells nothing, counts only what was judged."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.benchmark.cases import Case
from flywheel.errors import FlywheelError
from flywheel.evaluation.human_review import draw, outputs_of, reasons_to_wait, sheets_of, state_of
from flywheel.evaluation.review_sheet import Rating, checked_rater, read_sheet, sheet_lines, sheet_page
from flywheel.evaluation.review_store import import_ratings, read_review, waits
from flywheel.lake import Lake
from flywheel.workflows.evaluation_settings import Review
from flywheel.workflows.pack import Pack
from flywheel_tests.evaluation.judged import WEEK, door_pack, evaluated, ratings_of

NOW = datetime(2026, 1, 14, tzinfo=UTC)


@pytest.fixture
def house(tmp_path: Path) -> tuple[Lake, Pack]:
    pack, lake = door_pack(tmp_path, human_review="required", review={"at_least": 40}), Lake(tmp_path / "lake")
    evaluated(lake, pack)
    return lake, pack


def outputs(strata: dict[tuple[str, bool], int]) -> pl.DataFrame:
    rows = [
        {"output_id": f"{category}{ok}{n}", "case_id": f"{category}{n}", "epoch": 0, "case_cluster": f"{category}{n}", "category": category,
         "success": ok, "failure_reason": None, "transcript": "[]"}
        for (category, ok), count in strata.items() for n in range(count)
    ]  # fmt: skip
    schema = {"output_id": pl.String, "case_id": pl.String, "epoch": pl.Int32, "case_cluster": pl.String, "category": pl.String,
              "success": pl.Boolean, "failure_reason": pl.String, "transcript": pl.String}  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def rated(*verdicts: tuple[str, str, str]) -> pl.DataFrame:
    rows = [
        {"output_id": output, "rater": rater, "verdict": verdict, "comment": ""} for output, rater, verdict in verdicts
    ]
    return pl.DataFrame(rows, schema={name: pl.String for name in ("output_id", "rater", "verdict", "comment")})


@settings(max_examples=15, deadline=None)
@given(
    st.dictionaries(st.tuples(st.sampled_from("abcd"), st.booleans()), st.integers(1, 30), min_size=1),
    st.integers(1, 60), st.floats(0.01, 1), st.randoms(),
)  # fmt: skip
def test_any_sample_is_large_enough_holds_every_stratum_and_is_drawn_the_same_again(strata, at_least, share, random):
    every, review = outputs(strata), Review(at_least=at_least, share=share)
    drawn = draw(every, review, workflow="door", week=WEEK)
    rows = every.rows()
    random.shuffle(rows)
    again = draw(pl.DataFrame(rows, schema=every.schema, orient="row"), review, workflow="door", week=WEEK)
    assert again.equals(drawn), "the order of the rows decides nothing"
    assert (
        drawn.height >= min(every.height, max(at_least, share * every.height)) and drawn["output_id"].is_unique().all()
    )
    counts = {(category, ok): count for category, ok, count in drawn.group_by("category", "success").len().rows()}
    assert all(counts[stratum] >= min(2, size) for stratum, size in strata.items())
    assert drawn["double"].sum() >= 0.1 * drawn.height
    dealt = sheets_of(drawn, 3)
    times = pl.concat(dealt)["output_id"].value_counts().join(drawn, on="output_id")
    assert (times["count"] == 1 + times["double"].cast(pl.Int64)).all(), "doubles lie on two sheets, the others on one"


def test_another_week_draws_another_sample():
    every = outputs({("a", True): 50, ("a", False): 50})
    one, other = (draw(every, Review(at_least=20), workflow="door", week=week) for week in (WEEK, "2026-01-12"))
    assert set(one["output_id"]) != set(other["output_id"])


def test_arms_that_wrote_the_same_share_an_output_and_what_was_not_scored_is_left_out(house: tuple[Lake, Pack]):
    lake, pack = house
    results = lake.read_partition("eval_results", workflow=pack.name, week=WEEK)
    found = outputs_of(results)
    cases = results["case_id"].n_unique()
    same = results.filter(arm="incumbent", success=True).height
    assert found.height == 2 * cases - same and not found["transcript"].str.contains("again").any()
    broken = results.with_columns(success=pl.when(pl.col("arm") == "candidate").then(None).otherwise("success"))
    assert outputs_of(broken).height == cases


def test_only_what_was_decided_counts():
    sample = outputs({("a", True): 3, ("a", False): 2}).with_columns(double=False)
    ids = sample["output_id"].to_list()
    state = state_of(sample, rated(
        (ids[0], "ann", "pass"), (ids[1], "ann", "pass"), (ids[1], "bob", "fail"), (ids[2], "ann", "unsure"),
        (ids[3], "ann", "pass"), (ids[3], "bob", "pass"), ("elsewhere", "ann", "pass"),
    ))  # fmt: skip
    assert (state.sampled, state.decided, state.undecided, state.double_rated) == (5, 2, 2, 2)
    assert state.agreement and (state.agreement.estimate, state.agreement.n) == (0.5, 2)
    assert state.false_passes == (0, 1) and state.false_failures == (1, 1) and state.between_raters.pairs == 2
    assert state_of(sample, rated()).agreement is None and state_of(sample, rated()).decided == 0


def test_promotion_waits_until_enough_is_judged_by_enough_people_and_agrees():
    sample, review = outputs({("a", True): 10, ("a", False): 10}).with_columns(double=False), Review()

    def reason(*verdicts: tuple[str, str, str]) -> str:
        return "; ".join(reasons_to_wait(state_of(sample, rated(*verdicts)), review, command="go"))

    right = [(row["output_id"], "ann", "pass" if row["success"] else "fail") for row in sample.iter_rows(named=True)]
    wrong = [(output, rater, "fail") for output, rater, _ in right]
    doubled = [(output, "bob", verdict) for output, _, verdict in right[:2]]
    assert "0 of 20 sampled cases reviewed, 18 are needed: go" in reason()
    assert "17 of 20 sampled" in reason(*right[:17])
    assert "0 of 20 sampled cases were judged by two people, 2 are needed" in reason(*right)
    assert reason(*right, *doubled) == ""
    assert "cannot be believed" in reason(*wrong, (wrong[-1][0], "bob", "fail"), (wrong[-2][0], "bob", "fail"))
    nothing = state_of(sample.clear(), rated())
    assert "no scored output" in reasons_to_wait(nothing, review, command="go")[0]


def test_a_sheet_says_nothing_of_arm_adapter_or_score(house: tuple[Lake, Pack]):
    lake, pack = house
    review = read_review(lake, pack, WEEK)
    frozen = lake.read_partition("benchmark", workflow=pack.name)
    cases = {case.id: case for case in map(Case.model_validate_json, frozen["case"])}
    hostile = "</script><script>alert(1)</script>\u202e"
    transcript = json.dumps([*cases[review.sample["case_id"][0]].messages, {"role": "assistant", "content": hostile}])
    sheet = review.sample.with_columns(
        transcript=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(transcript)).otherwise("transcript")
    )
    page = sheet_page(sheet, cases, pack, WEEK, name="sheet")
    data = json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    told = json.dumps(data) + json.dumps(sheet_lines(sheet, pack, WEEK))
    assert not any(word in told for word in ("new-adapter", "incumbent_again", "success", '"arm"', "failure_reason"))
    assert data["items"][0]["after"][0]["text"].startswith("</script>") and "\u202e" not in page
    assert page.count("<script") == 2 and "default-src 'none'" in page and "http" not in page.split("</style>")[1]


def filled(path: Path, ratings: list[Rating]) -> Path:
    path.write_text("".join(one.model_dump_json(exclude={"where"}) + "\n" for one in ratings))
    return path


def test_ratings_are_taken_in_once_and_never_changed(house: tuple[Lake, Pack], tmp_path: Path):
    lake, pack = house
    sample = read_review(lake, pack, WEEK).sample
    first, second = sheets_of(sample, 2)
    ann = read_sheet(filled(tmp_path / "ann.jsonl", ratings_of(first, wrong=1)))
    done = import_ratings(lake, pack, WEEK, ann, by="ann", now=NOW)
    assert (done.added, done.known) == (first.height, 0) and waits(done.review, pack, WEEK)
    again = import_ratings(lake, pack, WEEK, ann, by="ann", now=NOW)
    assert (again.added, again.known) == (0, first.height)
    with pytest.raises(FlywheelError, match="judged 1 of these outputs otherwise before"):
        import_ratings(lake, pack, WEEK, ratings_of(first), by="ann", now=NOW)
    done = import_ratings(lake, pack, WEEK, ratings_of(second), by="bob", now=NOW)
    assert not waits(done.review, pack, WEEK) and done.review.state.decided >= sample.height - 1
    assert lake.read_weeks("evaluation_ratings", workflow="door").height == first.height + second.height


def test_a_disagreement_is_listed_as_the_graders_fault_and_no_score_changes(house: tuple[Lake, Pack]):
    lake, pack = house
    before = lake.read_partition("eval_results", workflow=pack.name, week=WEEK)
    review = read_review(lake, pack, WEEK)
    alone = review.sample.filter(~pl.col("double"))
    import_ratings(lake, pack, WEEK, ratings_of(alone, wrong=3), by="ann", now=NOW)
    listed = lake.read_partition("evaluation_disagreements", workflow=pack.name, week=WEEK)
    assert listed.height == 3 and set(listed["fault"]) == {"grader"} and set(listed["raters"]) == {"ann"}
    assert (listed["program_success"] != listed["human_success"]).all()
    figures = lake.read_partition("evaluation_review", workflow=pack.name, week=WEEK)
    agreement = figures.filter(figure="agreement").row(0, named=True)
    assert (
        agreement["value"] == pytest.approx(1 - 3 / alone.height)
        and agreement["low"] < agreement["value"] < agreement["high"]
    )
    assert lake.read_partition("eval_results", workflow=pack.name, week=WEEK).equals(before)


def test_an_output_that_changed_loses_its_rating(house: tuple[Lake, Pack]):
    lake, pack = house
    review = read_review(lake, pack, WEEK)
    import_ratings(lake, pack, WEEK, ratings_of(review.sample), by="ann", now=NOW)
    results = lake.read_partition("eval_results", workflow=pack.name, week=WEEK)
    other = results.with_columns(pl.col("transcript").str.replace_all("candidate ", "differently ")).drop(
        "week", "workflow"
    )
    lake.replace_partition("eval_results", other, workflow=pack.name, week=WEEK)
    state = read_review(lake, pack, WEEK).state
    kept = review.sample.filter(~pl.col("transcript").str.contains("candidate ")).height
    assert state.decided <= kept < review.state.sampled
    with pytest.raises(FlywheelError, match="not in the sample") as caught:
        import_ratings(lake, pack, WEEK, ratings_of(review.sample), by="bob", now=NOW)
    assert "draw it again" in caught.value.remedy


GOOD = {"workflow": "door", "week": WEEK, "output_id": "0" * 16, "case_id": "c", "epoch": 0, "verdict": "pass"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line"), ("<!doctype html>", "this is the page itself"), ("{broken", "not valid JSON"), ("[" * 100_000, "not valid JSON|too deep"),
        (json.dumps({**GOOD, "verdict": "great"}), "verdict"), (json.dumps({**GOOD, "score": 1}), "score"), (json.dumps([1]), "valid dictionary"),
        (json.dumps({**GOOD, "verdict": None}), "none of the 1 lines has a verdict"),
        (json.dumps(GOOD) + "\n" + json.dumps(GOOD), "stands twice"),
        (json.dumps(GOOD) + "\n" + json.dumps({**GOOD, "output_id": "1" * 16, "week": "2026-01-12"}), "two weeks"),
        (json.dumps({**GOOD, "comment": "ask ann@example.com"}), "personal data"),
        (json.dumps({**GOOD, "comment": "x" * 2001}), "comment"), (json.dumps({**GOOD, "rated_at": "2026-01-14T10:00:00"}), "rated_at"),
    ],
)  # fmt: skip
def test_a_sheet_that_is_wrong_is_refused_whole_with_its_line(tmp_path: Path, text: str, said: str):
    file = tmp_path / "sheet.jsonl"
    file.write_text(text)
    with pytest.raises(FlywheelError, match=said) as caught:
        read_sheet(file)
    assert str(file) in caught.value.where and caught.value.remedy


def test_what_is_no_sheet_at_all_is_refused(tmp_path: Path):
    for path, content in ((tmp_path / "absent.jsonl", None), (tmp_path / "binary.jsonl", b"\xff\xfe\x00")):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(FlywheelError):
            read_sheet(path)
    with pytest.raises(FlywheelError):
        read_sheet(tmp_path)
    with pytest.raises(FlywheelError, match="is no name"):
        checked_rater(" \n")
