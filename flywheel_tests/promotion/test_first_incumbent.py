"""An endpoint as the first incumbent: what the pointer file says of it, how a rollback leads back to it, and what cannot be made of it."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flywheel.benchmark.row_digest import DIGEST, row_sha256
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES
from flywheel.operations.serve import check_pointer
from flywheel.promotion.announce import announce
from flywheel.promotion.bundle import Contents, make_bundle
from flywheel.promotion.comparison import INCUMBENT_ENDPOINT, evaluated_in
from flywheel.promotion.evidence import Evidence
from flywheel.promotion.history import last_noise
from flywheel.promotion.live import carried
from flywheel.promotion.pointer import entry
from flywheel.promotion.pointer_file import pointer_of, read_pointer, write_pointer
from flywheel.promotion.releases import Releases
from flywheel.promotion.validity import invalidity
from flywheel.report.conditions import Conditions, breaks, marks
from flywheel.report.verdict import plain_verdict
from flywheel.serving.configuration import Configuration
from flywheel.training.start import start_of
from flywheel.workflows.hook import Hook
from flywheel.workflows.serving_settings import EndpointSettings, FirstIncumbent
from flywheel_tests.promotion.house import WEEKS, blank, decide, make_adapter, make_house

NAMED = EndpointSettings(url="https://api.example.com/v1", model="large-1", omit=["seed"])
FIRST = "endpoint:large-1@api.example.com"


def changed(acts: Releases, **settings: Any) -> Releases:
    """The acts of a pack with other settings."""
    return acts._replace(pack=dataclasses.replace(acts.pack, settings=acts.pack.settings.model_copy(update=settings)))


@pytest.fixture
def acts(tmp_path: Path) -> Releases:
    return changed(make_house(tmp_path), first_incumbent=FirstIncumbent(endpoint=NAMED))


def test_before_anything_was_released_the_pointer_names_the_endpoint_and_nothing_of_ours(acts: Releases):
    decide(acts, WEEKS[0], make_adapter(acts.settings, 1), verdict="REJECT")
    file = acts.settings.pointer("door")
    pointer = write_pointer(acts.settings, acts.pack, acts.base, acts.log())
    assert read_pointer(file) == pointer and pointer.adapter_id == FIRST
    assert pointer.endpoint and pointer.endpoint.model_dump() == {
        "model": "large-1", "host": "api.example.com", "url": "https://api.example.com/v1",
    }  # fmt: skip
    ours = (pointer.adapter_path, pointer.base_model, pointer.model_family, pointer.chat_template_sha256, pointer.since)
    assert set(ours) == {None} and pointer.vllm_arguments == [] and pointer.previous_adapter_id is None
    with pytest.raises(FlywheelError, match="answers production until a first adapter is released"):
        check_pointer(acts.settings, pointer)
    with pytest.raises(FlywheelError, match="nothing lies here to be served or packed"):
        make_bundle(acts.settings, acts.pack, acts.base, Contents(FIRST), acts.settings.home / "bundle")
    with pytest.raises(FlywheelError, match=f"nothing served before {FIRST}"):
        acts.roll_back(by="Dana", reason="r")


def test_a_rollback_over_the_first_release_leads_to_the_endpoint_and_is_told(acts: Releases):
    heard = acts.settings.home / "heard"
    acts = changed(acts, on_rollback=Hook(command=["sh", "-c", f"cat > {heard}"]))
    adapter = make_adapter(acts.settings, 1)
    decide(acts, WEEKS[0], adapter)
    assert acts.serves(acts.log()) == FIRST
    acts.approve(WEEKS[0], by="Dana")
    pointer = pointer_of(acts.settings, acts.pack, acts.base, acts.log())
    assert pointer.adapter_id == adapter and pointer.endpoint is None and pointer.previous_adapter_id == FIRST
    acts.roll_back(by="Dana", reason="slow")
    done = announce(acts.lake, acts.settings, acts.pack, acts.base)
    assert done.told and done.pointer.adapter_id == FIRST and done.pointer.because.kind == "rollback"
    told = json.loads(heard.read_text())
    assert (told["adapter_id"], told["previous_adapter_id"], told["bundle_sha256"], told["bundle_path"]) == (
        FIRST, adapter, None, None,
    )  # fmt: skip
    moved_on = changed(acts, first_incumbent=None)
    pointer = pointer_of(moved_on.settings, moved_on.pack, moved_on.base, moved_on.log())
    assert pointer.endpoint and pointer.endpoint.url is None and pointer.configuration == {}, (
        "the pack says no more how it is asked"
    )
    assert moved_on.override("base", by="Dana", reason="the contract ended").moved
    assert acts.override(FIRST, by="Dana", reason="it was renewed").moved


def test_an_approval_against_another_endpoint_than_todays_is_refused(acts: Releases):
    decide(acts, WEEKS[0], make_adapter(acts.settings, 1))
    other = FirstIncumbent(endpoint=NAMED.model_copy(update={"model": "large-2"}))
    with pytest.raises(FlywheelError, match=f"was judged against {FIRST}, and endpoint:large-2@api.example.com serves"):
        changed(acts, first_incumbent=other).approve(WEEKS[0], by="Dana")


def test_the_pointer_says_which_decision_asked_the_endpoint_this(acts: Releases):
    parts = Configuration("pack", acts.pack, acts.base, "").parts()
    noted = json.dumps({**parts, INCUMBENT_ENDPOINT: NAMED.asked()})
    row = entry(
        WEEKS[0], "d1", "REJECT", FIRST, FIRST, datetime(2026, 1, 13, tzinfo=UTC), candidate="a", configuration=noted
    )
    acts.lake.append_new("promotion_log", [row], workflow="door")
    known = evaluated_in(acts.lake, "door", acts.log())
    assert (
        pointer_of(acts.settings, acts.pack, acts.base, acts.log(), known).evaluated_by
        == f"decision d1 of week {WEEKS[0]}"
    )
    edited = changed(acts, first_incumbent=FirstIncumbent(endpoint=NAMED.model_copy(update={"omit": []})))
    assert pointer_of(edited.settings, edited.pack, edited.base, edited.log(), known).evaluated_by is None


def test_an_adapters_noise_is_never_an_endpoints(acts: Releases):
    del acts
    schema = {**TABLES["promotion"].polars_schema()}
    row = {
        "week": "2026-01-05", "incumbent_adapter_id": FIRST, "a_a_week": "2026-01-05", "a_a_cases": 60, "a_a_flipped": 3,
        "a_a_difference": 0.0, "a_a_lower": -0.05, "a_a_upper": 0.05, "a_a_verdict": "SAME", "scorer_version": "1", "decoding": "g",
    }  # fmt: skip
    judged = pl.DataFrame([{**dict.fromkeys(schema), **row}], schema=schema)

    def known(incumbent: str) -> bool:
        return last_noise(judged, week="2026-01-12", incumbent=incumbent, scorer_version="1", decoding="g") is not None

    assert [known(one) for one in (FIRST, "adapter-1", "endpoint:large-2@api.example.com")] == [True, False, False]


def arm(name: str, answered_as: str) -> pl.DataFrame:
    server = json.dumps({"endpoint": "api.example.com", "model": "large-1", "answered_as": answered_as})
    row = blank("eval_results", case_id="c", case_cluster="c", category="tool_calling", arm=name, epoch=0, adapter_id=FIRST, success=True,
                benchmark_version="b", scorer_version="s", decoding="g", server=server)  # fmt: skip
    return pl.DataFrame([{**row, DIGEST: row_sha256(row)}], infer_schema_length=None)


def test_another_model_in_the_a_a_run_than_in_the_incumbents_is_invalid():
    candidate = arm("candidate", "x").with_columns(server=pl.lit("{}"))
    row = candidate.drop(DIGEST).row(0, named=True)
    candidate = candidate.with_columns(pl.lit(row_sha256(row)).alias(DIGEST))
    same = Evidence(candidate, arm("incumbent", "large-1-0131"), arm("incumbent_again", "large-1-0131"), ())
    assert invalidity(same) == []
    (reason,) = invalidity(same._replace(again=arm("incumbent_again", "large-1-0201")))
    assert reason.endswith("large-1-0131 at the incumbent, large-1-0201 at the A/A run")


def test_runs_that_name_no_adapter_are_the_endpoints_after_a_rollback(acts: Releases):
    adapter = make_adapter(acts.settings, 1)
    decide(acts, WEEKS[0], adapter, automatic=True)
    acts.roll_back(by="Dana", reason="slow")
    runs = [
        blank("production_traces", trace_id=f"t{n}", adapter_id="base" if n < 9 else adapter, environment="simulated")
        for n in range(10)
    ]
    acts.lake.replace_partition("production_traces", runs, workflow="door", week=WEEKS[1])
    found = carried(acts.lake, "door", acts.log())
    assert found and (found.adapter_id, found.carrying, found.others) == (FIRST, 9, {adapter: 1})


def test_training_starts_afresh_and_the_page_names_the_endpoint_and_marks_the_change(acts: Releases):
    goes_on = changed(acts, training=acts.pack.settings.training.model_copy(update={"start": "incumbent"}))
    start = start_of(goes_on.lake, goes_on.settings, goes_on.pack, goes_on.base, incumbent=FIRST, template_sha256="t")
    assert (
        start.adapter_id is None
        and start.because == f"a fresh adapter: {FIRST} serves: there is no adapter to go on from"
    )
    adapter = make_adapter(acts.settings, 1)
    decide(acts, WEEKS[0], adapter, verdict="REJECT")
    row = acts.lake.read_partition("promotion", workflow="door", week=WEEKS[0]).row(0, named=True) | {"cases": 9}
    said = plain_verdict(row, acts.log(), WEEKS[0], FIRST, [])
    assert said.serves == "The endpoint large-1 at api.example.com serves, as it has from the beginning."
    known = {
        WEEKS[0]: Conditions(incumbent=FIRST),
        WEEKS[1]: Conditions(incumbent="ours"),
        WEEKS[2]: Conditions(incumbent="ours"),
    }
    found = marks(known, ["incumbent"])
    assert found == {WEEKS[0]: [], WEEKS[1]: ["other kind of incumbent"], WEEKS[2]: []} and not breaks(found[WEEKS[1]])
