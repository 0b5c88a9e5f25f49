"""May the two arms be compared at all: same cases, same judge, few errors, every score there, an A/A run beside them.

What fails here makes the verdict INVALID and the incumbent stays: a broken run says nothing about a model.
"""

import json
from collections.abc import Collection

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
    reasons += [reason for name, rows in arms.items() for reason in unscored(name, rows)]
    every = {**arms, "A/A run": evidence.again}
    reasons += _attached_server_changed(every) + _shared_server_changed(every)
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


def broken(results: pl.DataFrame, gone: Collection[str]) -> list[str]:
    """Why stored results are to be generated anew though nothing that decides them changed: the server failed or changed meanwhile.

    Args:
        results: arm, adapter_id, infra_error and server of all arms.
        gone: adapters that cannot be served: their errors would only come again.
    """
    able = results.filter(~pl.col("adapter_id").is_in(list(gone)))
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
