"""What makes the datasets be built anew: every input that decides a row, and nothing else."""

from dataclasses import replace
from typing import Any, cast

from flywheel.chat import Renderer
from flywheel.datasets.refresh import refresh
from flywheel.defs.datasets import _inputs
from flywheel.defs.stage import Stage
from flywheel.lake import TABLES, Lake
from flywheel.toolcalls.structured_answers import ResponseSchema
from flywheel.workflows.loader import load_pack
from flywheel_tests.conftest import HOME
from flywheel_tests.datasets.samples import WEEKS, Workshop, called, correction, put, workshop

PACK = load_pack(HOME / "workflows" / "door")


def fingerprint(shop: Workshop) -> str:
    stage = Stage(cast(Any, None), shop.lake, "sft_dataset", PACK.name, WEEKS[0], "1")
    return stage.fingerprint(_inputs(stage, shop))


def failure(trace_id: str) -> dict[str, Any]:
    names = [name for name in TABLES["production_failures"].polars_schema() if name not in ("week", "workflow")]
    return {**dict.fromkeys(names), "failure_id": f"f-{trace_id}", "trace_id": trace_id}


def test_a_failure_found_later_on_a_verified_run_builds_the_datasets_anew(lake: Lake, renderer: Renderer):
    plain = workshop(lake, PACK, renderer)
    shop = plain._replace(pack=replace(PACK, settings=plain.pack.settings.model_copy(update={"verifiers": ["reward"]})))
    put(shop, WEEKS[0], correction(PACK, "the door is stuck", called("open_door", door="red")))
    lake.replace_partition("production_failures", [], workflow=PACK.name, week=WEEKS[0])
    before = fingerprint(shop), fingerprint(plain)
    refresh(shop, WEEKS[0])
    lake.replace_partition("production_failures", [failure("t1")], workflow=PACK.name, week=WEEKS[0])
    assert fingerprint(shop) != before[0] and refresh(shop, WEEKS[0]) == [WEEKS[0]]
    assert fingerprint(plain) == before[1], "without a verifier no run trains by itself"


def test_a_changed_response_schema_builds_the_datasets_anew(lake: Lake, renderer: Renderer):
    shop = workshop(lake, PACK, renderer)
    put(shop, WEEKS[0], correction(PACK, "the door is stuck", called("open_door", door="red")))
    asked = [
        fingerprint(shop._replace(pack=replace(shop.pack, responses=responses)))
        for responses in ((), (ResponseSchema("answer", {"type": "object"}),),
                          (ResponseSchema("answer", {"type": "object", "required": ["id"]}),))
    ]  # fmt: skip
    assert len(set(asked)) == 3, "an answer that no longer holds must not train"
