"""The weekly page: one self-contained HTML file, no script, no request to anywhere."""

import json
from typing import Any

from flywheel.report import corrections, plots
from flywheel.report.facts import WeekFacts, success_rows
from flywheel.report.failures import failures_section
from flywheel.report.text import escaped as _text
from flywheel.report.text import table as _table

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6470; --line: #d9dde2; --paper: #fcfcfb; --good: #2f7d5b; --bad: #a8443a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #a3abb5; --line: #3a4149; --paper: #171a1e; } svg { filter: brightness(1.35); } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; } h3 { font-size: .95rem; margin: 1.4rem 0 .3rem; color: var(--soft); } p.lead { color: var(--soft); margin: .2rem 0 1.4rem; }
.verdict { border-left: 4px solid var(--soft); padding: .6rem 1rem; } .PROMOTE { border-color: var(--good); } .REJECT, .INVALID { border-color: var(--bad); }
.verdict strong { font-size: 1.2rem; } table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .28rem .6rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } code { font-size: .86em; } .simulated { background: #8a6d1f22; padding: .5rem .8rem; }
svg { max-width: 100%; height: auto; } .scroll { overflow-x: auto; }
"""


def render(facts: WeekFacts) -> str:
    """The page as HTML; text from traces is escaped and stays inert."""
    title = f"{facts.workflow}, week of {facts.week}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        '<p class="lead">One turn of the wheel: traces, failures, corrections, datasets, checkpoint, evaluation, promotion.</p>',
        _simulated(facts),
        _verdict(facts),
        _evaluation(facts),
        _stages(facts),
        failures_section(facts),
        _corrections(facts),
        _training(facts),
        _examples(facts),
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{_text(title)}</title><style>{_STYLE}</style>'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _simulated(facts: WeekFacts) -> str:
    if not facts.simulated:
        return ""
    return '<p class="simulated">Simulated week: the customers and the experts are simulated; model, training, serving, evaluation and gate are real.</p>'


def _verdict(facts: WeekFacts) -> str:
    decision = facts.decision
    if decision is None:
        return '<h2>Verdict</h2><div class="verdict"><strong>No decision yet</strong><p>learn did not run: the correction batch is not complete.</p></div>'
    reasons = "".join(f"<li>{_text(reason)}</li>" for reason in json.loads(decision["reasons"]))
    served = f"serves from here on: <code>{_text(decision['served_adapter_id'])}</code>, before: <code>{_text(decision['incumbent_adapter_id'])}</code>"
    return f'<h2>Verdict</h2><div class="verdict {_text(decision["verdict"])}"><strong>{_text(decision["verdict"])}</strong><ul>{reasons}</ul><p>{served}; QA mode {_text(decision["qa_mode"])}</p></div>'


def _evaluation(facts: WeekFacts) -> str:
    results = facts.tables["eval_results"]
    if not results.height:
        return ""
    rows = success_rows(results)
    cells = [
        [
            row["category"].replace("_", " "),
            row["n"],
            *(f"{e:.1%} ({low:.0%} to {high:.0%})" for e, low, high in (row["incumbent"], row["candidate"])),
        ]
        for row in rows
    ]
    return f"<h2>Benchmark</h2>{plots.success_by_category(rows)}{_table(['category', 'cases', 'incumbent', 'candidate'], cells, 3)}"


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
    return f"<h2>Training</h2>{plots.loss_curve(json.loads(row['log']))}{_table(['what', 'value'], rows, 1)}"


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
