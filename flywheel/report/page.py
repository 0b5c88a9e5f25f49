"""The weekly page: what a week came to, for people who do not open Dagster."""

import json
from typing import Any

import polars as pl

from flywheel.report import corrections, plots
from flywheel.report.costs import costs_section
from flywheel.report.curve import ALL
from flywheel.report.curve_figures import category_figure, curve_figure
from flywheel.report.diffs_section import diffs_section
from flywheel.report.document import document
from flywheel.report.facts import WeekFacts, success_rows
from flywheel.report.failures import failures_section
from flywheel.report.figures import figure
from flywheel.report.human_review import human_review_section
from flywheel.report.prequential_section import prequential_figure, prequential_section
from flywheel.report.references import references_section
from flywheel.report.text import escaped as _text
from flywheel.report.text import table as _table
from flywheel.report.trend_figures import trend_figures
from flywheel.report.value_section import forecast_figure, next_hours_section
from flywheel.report.verdict import SHOWN_ASKS


def render(facts: WeekFacts) -> str:
    """The page as HTML; text from traces is escaped and stays inert."""
    title = f"{facts.workflow}, week of {facts.week}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        '<p class="lead">One turn of the wheel: traces, failures, corrections, datasets, checkpoint, evaluation, promotion.</p>',
        _simulated(facts),
        _verdict(facts),
        _evaluation(facts),
        prequential_section(facts.prequential, facts.week),
        references_section(facts.tables),
        human_review_section(facts.tables),
        diffs_section(facts.diffs, facts.workflow, facts.week),
        _many_weeks(facts),
        _stages(facts),
        failures_section(facts),
        _corrections(facts),
        next_hours_section(facts.next_hours),
        _training(facts),
        costs_section(facts.costs),
        _examples(facts),
    ]
    return document(title, "".join(parts))


def _simulated(facts: WeekFacts) -> str:
    if not facts.simulated:
        return ""
    return '<p class="simulated">Simulated week: the customers and the experts are simulated; model, training, serving, evaluation and gate are real.</p>'


def _verdict(facts: WeekFacts) -> str:
    told, decision = facts.verdict, facts.decision
    kind = decision["verdict"] if decision else ""
    mode = f"<p>QA mode {_text(decision['qa_mode'])}</p>" if decision else ""
    lines = "".join(f"<li>{_text(reason)}</li>" for reason in told.reasons)
    acts = "".join(f"<p>{_text(act)}</p>" for act in told.acts)
    rows: list[list[Any]] = [[ask.bucket.replace("_", " "), ask.tool, ask.advice(), ask.example_case_id, ask.example_reason, ask.regressed,
                              f"{ask.failed} of {ask.cases}"] for ask in told.asks[:SHOWN_ASKS]]  # fmt: skip
    header = ["bucket", "tool", "what to do", "one case", "why it failed", "solved by the incumbent", "failed"]
    asks = f"<h3>What to do next: where the candidate failed</h3>{_table(header, rows, 2)}<h3>Why</h3>" if rows else ""
    return (
        f'<h2>Verdict</h2><div class="verdict {_text(kind)}"><strong>{_text(kind or "No decision yet")}</strong>'
        f"<p>{_text(told.headline)} {_text(told.serves)}</p>{acts}</div>{asks}<ul>{lines}</ul>{mode}"
    )


def _evaluation(facts: WeekFacts) -> str:
    results = facts.tables["eval_results"]
    if not results.height:
        return ""
    rows = success_rows(results)
    arms = [arm for arm in ("base", "incumbent", "candidate") if arm in rows[0]]
    cells = [
        [row["category"].replace("_", " "), row["n"], *("{:.1%} ({:.0%} to {:.0%})".format(*row[arm]) for arm in arms)]
        for row in rows
    ]
    colours = {"base": "base (pale)", "incumbent": "incumbent (grey)", "candidate": "candidate (green)"}
    title = f"Cases solved by category: {', '.join(colours[arm] for arm in arms)}, {rows[-1]['n']} cases"
    words = "; ".join(f"{cell[0]}: " + ", ".join(f"{arm} {told}" for arm, told in zip(arms, cell[2:], strict=True)) for cell in cells)  # fmt: skip
    header = ["category", "cases", *(f"{arm} (95 % interval)" for arm in arms)]
    # The base model's answers may be carried from another week's server.
    note = server_note(results.filter(pl.col("arm") != "base"))
    return f"<h2>Benchmark</h2>{note}{figure(title, plots.success_by_category(rows), words, header, cells, len(header) - 1)}"


def server_note(results: pl.DataFrame) -> str:
    """Of results from a server that somebody else runs: which it was, and what of it could not be proven. Of one of ours: who shares it."""
    return _endpoint_note(results) + _attached_note(results) + _shared_note(results)


def _shared_note(results: pl.DataFrame) -> str:
    who = sorted({one["shared_by"] for one in _described(results, "shared_by")})
    return f"<p>{_text(f'Asked of one server that was shared by {who[0]}.')}</p>" if who else ""


def _described(results: pl.DataFrame, kind: str) -> list[dict[str, Any]]:
    """What the rows of a kind of server say of it."""
    of_kind = pl.col("server").cast(pl.String).str.contains(f'"{kind}":', literal=True)
    return [json.loads(text) for text in results.filter(of_kind)["server"].unique().sort()]


def _endpoint_note(results: pl.DataFrame) -> str:
    told = _described(results, "endpoint")
    if not told:
        return ""
    names = sorted(
        {f"{one['model']} at {one['endpoint']} (answered as {one.get('answered_as', 'not said')})" for one in told}
    )
    said = (
        f"The incumbent is an endpoint: {', '.join(names)}. Its seconds hold the way there, so latencies of the two arms are not one measure, "
        "and what it costs is not known here. Not proven of it:"
    )
    unproven = sorted({proof for one in told for proof in one.get("not_proven", "anything").split("; ")})
    items = "".join(f"<li>{_text(proof)}</li>" for proof in unproven)
    return f"<p>{_text(said)}</p><ul>{items}</ul>"


def _attached_note(results: pl.DataFrame) -> str:
    told = _described(results, "attached")
    if not told:
        return ""
    hosts, versions = ({one[name] for one in told} for name in ("attached", "vllm"))
    said = f"Asked of a server that ran already, at {', '.join(sorted(hosts))}, vLLM {', '.join(sorted(versions))}."
    unproven = sorted({proof for one in told for proof in one["not_proven"].split("; ")})
    items = "".join(f"<li>{_text(proof)}</li>" for proof in unproven)
    return f"<p>{_text(said)} Not proven of it:</p><ul>{items}</ul>"


def _many_weeks(facts: WeekFacts) -> str:
    """Figures that have something to show: an empty plot says less than none."""
    curve = facts.curves.get(ALL)
    evaluated = curve is not None and curve["success"].drop_nulls().len()
    shown = curve_figure(curve) + category_figure(facts.curves) if evaluated and curve is not None else ""
    shown += (
        prequential_figure(facts.prequential, curve) + trend_figures(facts.trends) + forecast_figure(facts.next_hours)
    )
    link = '<p><a href="index.html">All weeks on one page</a></p>'
    return f"<h2>Week over week</h2>{link}{shown}" if shown else ""


def _stages(facts: WeekFacts) -> str:
    def shown(value: float | int | None) -> str:
        return "not run" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"

    rows: list[list[Any]] = [[s.table, shown(s.rows_in), shown(s.rows_out), shown(s.seconds)] for s in facts.stages]
    return f"<h2>Stages</h2>{_table(['stage', 'rows in', 'rows out', 'seconds'], rows, 3)}"


def _corrections(facts: WeekFacts) -> str:
    quality, checkpoint = facts.tables["correction_quality"], facts.tables["checkpoint"]
    if not quality.height:
        return ""
    measures = [
        *corrections.quality_rows(quality),
        *corrections.cost_rows(quality, checkpoint),
        *corrections.fixed_rows(facts.so_far["failure_clusters"], facts.so_far["correction_quality"], facts.week),
    ]
    people = corrections.effort_rows(facts.tables["correction_effort"])
    columns = ["person", "role", "items", "active s", "as it is", "changed", "returned", "edits", "cost"]
    return (
        f"<h2>Corrections: quality and cost</h2>{_table(['measure', 'value', 'n', 'note'], measures)}"
        f"{_table(columns, people, 7)}"
    )


def _training(facts: WeekFacts) -> str:
    trained = facts.tables["checkpoint"]
    if not trained.height:
        return ""
    row = trained.row(0, named=True)
    rows = [
        ["adapter", row["adapter_id"]],
        ["supervised rows, presentations", f"{row['sft_rows']}, {row['sft_presentations']}"],
        ["preference pairs", row["preference_rows"]],
        [
            "pairs preferred after DPO",
            "none" if row["preference_accuracy"] is None else f"{row['preference_accuracy']:.0%}",
        ],
        [
            "tokens computed, of the rows' tokens",
            f"{row['tokens_computed']:,} of {row['tokens']:,}"
            + (
                f" ({row['tokens'] / row['tokens_computed']:.1f} times fewer)"
                if row["sharing"] == "tree"
                else f": {row['sharing']}"
            ),
        ],
        [
            "loss on rows kept out",
            "no rows kept out" if row["validation_loss"] is None else f"{row['validation_loss']:.3f}",
        ],
        ["worse than the base model on general texts", _nats(row, "forgetting")],
        ["worse on tools nobody corrected this week", _nats(row, "tool_regression")],
        ["training seconds", f"{row['seconds']:.0f}"],
    ]
    if told := row.get("trained_elsewhere"):
        rows.append(
            ["trained elsewhere, on", json.loads(told)["machine"].get("device", "a machine that was not named")]
        )
    return f"<h2>Training</h2>{_losses(json.loads(row['log']))}{_table(['what', 'value'], rows, 1)}"


def _losses(log: list[dict[str, Any]]) -> str:
    cells = [
        [
            entry["stage"],
            entry["step"],
            "rows kept out" if entry["validation"] else "training rows",
            f"{entry['loss']:.4f}",
        ]
        for entry in log
    ]
    first, last = cells[0], cells[-1]
    words = (
        f"Loss from {first[3]} at the first logged step to {last[3]} at the last ({last[0]} step {last[1]}, {last[2]})."
    )
    title = f"Loss by step, in nats a token for SFT ({len(log)} logged steps)"
    return figure(title, plots.loss_curve(log), words, ["stage", "step", "on", "loss"], cells, 1)


def _nats(row: dict[str, Any], name: str) -> str:
    """A change against the base model with its interval; positive is forgotten."""
    if row[f"{name}_nats"] is None:
        return "not measured: no accepted step calls such a tool"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[f'{name}_nats']:+.3f} nats a token (95 % {low:+.3f} to {high:+.3f}); above zero is forgotten"


def _examples(facts: WeekFacts) -> str:
    corrected = facts.tables["corrected_traces"].head(6)
    rows = []
    for row in corrected.iter_rows(named=True):
        right = json.loads(row["messages"])[row["first_bad_message_index"]]
        rows.append([row["failure_cluster"], _step(json.loads(row["rejected_message"])), _step(right)])
    return (
        f"<h2>Corrections, some examples</h2>{_table(['cluster', 'the model wrote', 'corrected to'], rows)}"
        if rows
        else ""
    )


def _step(message: dict[str, Any]) -> str:
    calls = [f"{call['function']['name']} {call['function']['arguments']}" for call in message.get("tool_calls") or []]
    text = "; ".join(calls) or str(message.get("content") or "")
    return text if len(text) <= 160 else text[:159] + "…"
