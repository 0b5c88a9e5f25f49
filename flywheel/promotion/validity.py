"""May the two arms be compared at all: same cases, same judge, few errors, every score there, an A/A run beside them.

What fails here makes the verdict INVALID and the incumbent stays: a broken run says nothing about a model.
"""

import json
from collections.abc import Collection
from typing import Any

import polars as pl

from flywheel.benchmark.row_digest import tampered
from flywheel.promotion.evidence import Evidence, epoch_of
from flywheel.promotion.pointer import BASE

MAXIMUM_INFRA_SHARE = 0.02


def invalidity(evidence: Evidence) -> list[str]:
    """Why the comparison cannot be judged, one sentence a reason; empty when it can."""
    arms = {"candidate": evidence.candidate, "incumbent": evidence.incumbent}
    for name, rows in arms.items():
        if not rows.height:
            return [f"there are no results of the {name}: the benchmark is empty, or the evaluation did not run"]
    reasons = [reason for rows in (*arms.values(), evidence.again) for reason in tampered(rows)]
    reasons += [reason for name, rows in arms.items() for reason in unscored(name, rows)]
    every = {**arms, "A/A run": evidence.again}
    reasons += _attached_server_changed(every) + _shared_server_changed(every)
    # Candidate and incumbent may rightly be two endpoints, each of them only one.
    reasons += _endpoint_changed({"candidate": evidence.candidate})
    reasons += _endpoint_changed({"incumbent": evidence.incumbent, "A/A run": evidence.again})
    reasons += _runs_missing(arms, evidence.due)
    for column in ("benchmark_version", "scorer_version", "decoding"):
        if column in evidence.may_differ:
            continue
        values = set(evidence.candidate[column]) | set(evidence.incumbent[column])
        if len(values) != 1:
            reasons.append(f"the arms differ in {column}: {', '.join(sorted(map(str, values)))}")
    return reasons


def _runs_missing(arms: dict[str, pl.DataFrame], due: Collection[tuple[str, int]] | None) -> list[str]:
    """Rows that somebody took away, of one arm or of both: what is left may say the opposite."""
    ran = {name: set(rows.select("case_id", epoch_of(rows)).iter_rows()) for name, rows in arms.items()}
    candidate, incumbent = ran.values()
    if candidate != incumbent:
        return [
            f"candidate and incumbent did not run the same cases: {len(candidate - incumbent)} runs only the candidate, "
            f"{len(incumbent - candidate)} only the incumbent"
        ]
    asked = candidate if due is None else set(due)
    if candidate != asked:
        lost, other = len(asked - candidate), len(candidate - asked)
        return [f"the arms do not have the runs that the frozen benchmark asks for: {lost} of {len(asked)} are missing, {other} are of no frozen case"]  # fmt: skip
    return []


def _attached_server_changed(arms: dict[str, pl.DataFrame]) -> list[str]:
    """A server that somebody else runs may become another one between two arms, or within one; ours cannot."""
    seen = _servers_that_say("attached", arms)
    reasons = [f"the attached server changed while the {name} ran: {server['changed']}" for name, server in seen if server.get("changed")]  # fmt: skip
    return reasons + _differing(seen, ("attached", "vllm", "fingerprint", "models"), "the attached server")


def _shared_server_changed(arms: dict[str, pl.DataFrame]) -> list[str]:
    """One that several workflows share may be started again between two arms, but only as what it was."""
    seen = _servers_that_say("shared_by", arms)
    return _differing(seen, ("vllm", "arguments"), "the server that workflows share")


def _servers_that_say(key: str, arms: dict[str, pl.DataFrame]) -> list[tuple[str, dict[str, str]]]:
    """Arm and server, for each server of an arm whose description has this key."""
    having = pl.col("server").cast(pl.String).str.contains(f'"{key}":', literal=True)
    known = {name: rows.filter(having)["server"].unique().sort() for name, rows in arms.items() if "server" in rows.columns}  # fmt: skip
    return [(name, json.loads(text)) for name, texts in known.items() for text in texts]


def _differing(seen: list[tuple[str, dict[str, str]]], parts: tuple[str, ...], which: str) -> list[str]:
    reasons = []
    for part in parts:
        told = {name: server.get(part) for name, server in seen}
        if len(set(told.values())) > 1:
            said = ", ".join(f"{value} at the {name}" for name, value in told.items())
            reasons.append(f"{which} changed between arms, in {part}: {said}")
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


def broken(results: pl.DataFrame, gone: Collection[str]) -> list[str]:
    """Why stored results are to be generated anew though nothing that decides them changed: the server failed or changed meanwhile.

    Args:
        results: arm, adapter_id, infra_error and server of all arms; those of the base model's are not looked at.
        gone: adapters that cannot be served: their errors would only come again.
    """
    # Nothing is decided on the base model's own arm, and its answers may be carried from another week's server.
    able = results.filter(~pl.col("adapter_id").is_in(list(gone)), pl.col("arm") != BASE)
    arms = {str(name): rows for (name,), rows in sorted(able.group_by("arm"), key=lambda arm: str(arm[0]))}
    return [
        *(reason for name, rows in arms.items() for reason in _lost(name, rows)),
        *_attached_server_changed(arms),
        *_shared_server_changed(arms),
    ]


def _lost(name: str, rows: pl.DataFrame) -> list[str]:
    """The sentence about an arm that lost too many runs to errors."""
    errors = rows["infra_error"].count()
    if errors <= MAXIMUM_INFRA_SHARE * rows.height:
        return []
    return [
        f"{errors} of {rows.height} runs of the {name} ended in a server or network error (allowed: {MAXIMUM_INFRA_SHARE:.0%}), "
        f"first: {rows['infra_error'].drop_nulls()[0]}"
    ]


def unscored(name: str, rows: pl.DataFrame) -> list[str]:
    """Why an arm lacks too many scores, one sentence a reason; empty where it has them."""
    reasons = _lost(name, rows)
    missing = rows.filter(pl.col("success").is_null() & pl.col("infra_error").is_null()).height
    if missing:
        reasons.append(f"{missing} of {rows.height} runs of the {name} have no score")
    return reasons
