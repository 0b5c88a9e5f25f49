"""May the two arms be compared at all: same cases, same judge, few errors, every score there, an A/A run beside them.

What fails here makes the verdict INVALID and the incumbent stays: a broken run says nothing about a model.
"""

import json
from typing import Any

import polars as pl

from flywheel.benchmark.row_digest import tampered
from flywheel.promotion.evidence import Evidence

MAXIMUM_INFRA_SHARE = 0.02


def invalidity(evidence: Evidence) -> list[str]:
    """Why the comparison cannot be judged, one sentence a reason; empty when it can."""
    arms = {"candidate": evidence.candidate, "incumbent": evidence.incumbent}
    for name, rows in arms.items():
        if not rows.height:
            return [f"there are no results of the {name}: the benchmark is empty, or the evaluation did not run"]
    reasons = [reason for rows in (*arms.values(), evidence.again) for reason in tampered(rows)]
    reasons += [reason for name, rows in arms.items() for reason in _unscored(name, rows)]
    reasons += _attached_server_changed({**arms, "A/A run": evidence.again})
    reasons += _endpoint_changed({"incumbent": evidence.incumbent, "A/A run": evidence.again})
    ran = [set(rows["case_id"]) for rows in arms.values()]
    if ran[0] != ran[1]:
        only = len(ran[0] - ran[1]), len(ran[1] - ran[0])
        reasons.append(
            f"candidate and incumbent did not run the same cases: {only[0]} only the candidate, {only[1]} only the incumbent"
        )
    for column in ("benchmark_version", "scorer_version", "decoding"):
        if column in evidence.may_differ:
            continue
        values = set(evidence.candidate[column]) | set(evidence.incumbent[column])
        if len(values) != 1:
            reasons.append(f"the arms differ in {column}: {', '.join(sorted(map(str, values)))}")
    return reasons


def _attached_server_changed(arms: dict[str, pl.DataFrame]) -> list[str]:
    """A server that somebody else runs may become another one between two arms, or within one; ours cannot."""
    attached = pl.col("server").cast(pl.String).str.contains('"attached":', literal=True)
    known = {
        name: rows.filter(attached)["server"].unique().sort() for name, rows in arms.items() if "server" in rows.columns
    }
    seen = [(name, json.loads(text)) for name, texts in known.items() for text in texts]
    reasons = [f"the attached server changed while the {name} ran: {server['changed']}" for name, server in seen if server.get("changed")]  # fmt: skip
    for part in ("attached", "vllm", "fingerprint", "models"):
        told = {name: server.get(part) for name, server in seen}
        if len(set(told.values())) > 1:
            said = ", ".join(f"{value} at the {name}" for name, value in told.items())
            reasons.append(f"the attached server changed between arms, in {part}: {said}")
    return reasons


def _endpoint_changed(arms: dict[str, pl.DataFrame]) -> list[str]:
    """An endpoint may answer as another model from one request to the next: then nobody knows who was compared."""
    seen = [(name, server) for name, rows in arms.items() for server in asked_of_endpoint(rows)]
    reasons = [f"the endpoint changed while the {name} ran: {server['changed']}" for name, server in seen if server.get("changed")]  # fmt: skip
    told = {name: server.get("answered_as") for name, server in seen}
    if not reasons and len(set(told.values())) > 1:
        said = ", ".join(f"{value} at the {name}" for name, value in told.items())
        reasons.append(
            f"the endpoint changed between the incumbent and its A/A run, in the model that answered: {said}"
        )
    return reasons


def asked_of_endpoint(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """What rows say of the endpoints that answered them; empty where a server of adapters did."""
    if "server" not in rows.columns:
        return []
    texts = rows["server"].cast(pl.String).drop_nulls()
    return [json.loads(text) for text in texts.unique().sort() if '"endpoint":' in text]


def endpoint_sentence(incumbent: pl.DataFrame) -> str | None:
    """What a verdict against an endpoint rests on and cannot know, in words; None where the incumbent is ours."""
    told = asked_of_endpoint(incumbent)
    if not told:
        return None
    server = told[0]
    return (
        f"the incumbent is the endpoint {server['model']} at {server['endpoint']} (answered as {server.get('answered_as', 'not said')}). Not "
        f"proven of it: {server.get('not_proven', 'anything')}. Floors and ceilings hold the candidate alone: the endpoint's seconds hold the "
        "way there, and what it costs is not known here"
    )


def _unscored(name: str, rows: pl.DataFrame) -> list[str]:
    reasons: list[str] = []
    errors = rows["infra_error"].count()
    if errors > MAXIMUM_INFRA_SHARE * rows.height:
        reasons.append(
            f"{errors} of {rows.height} runs of the {name} ended in a server or network error (allowed: {MAXIMUM_INFRA_SHARE:.0%}), "
            f"first: {rows['infra_error'].drop_nulls()[0]}"
        )
    missing = rows.filter(pl.col("success").is_null() & pl.col("infra_error").is_null()).height
    if missing:
        reasons.append(f"{missing} of {rows.height} runs of the {name} have no score")
    return reasons
