"""Rations: the row budget, each source's share of it, and the caps per person, tenant, near-duplicate group and template.

The budget, not the history, sets what a week costs to build and to train.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from flywheel.workflows.pack import Datasets, WorkflowSettings

Row = Mapping[str, Any]
_ITEMS_A_PERSON, _PEOPLE_NEEDED = 3, 20


def row_budget(settings: WorkflowSettings) -> int:
    """Most rows of a week's mix: what `datasets.row_budget` says, and never more than its training shows once.

    Of a larger mix the training would draw which rows it shows, and this week's corrections, a small share of a year's, would mostly
    not be among them.
    """
    training = settings.training
    return min(settings.datasets.row_budget, round(training.sft_presentations / (1 - training.validation_share)))


class Ration:
    """What is left of every ration while a mix is filled.

    Args:
        rows: all rows that may be taken, with their `unit`: shares and caps are shares of them.
    """

    def __init__(self, rows: pl.DataFrame, settings: Datasets) -> None:
        self.caps, self.budget = settings.caps, settings.row_budget
        self.notes: list[str] = []
        corrections = rows.filter(source="correction")
        self.touched = {tool for tool in corrections["tool"].unique() if tool}
        # Steps that are refused for their tool reserve no places: nobody else would get them.
        usable = rows.filter((pl.col("source") != "verified") | ~self._is_touched())
        self.quotas = _quotas(dict(usable["source"].value_counts().rows()), settings)
        self.by_source: Counter[str] = Counter()
        self.by_tenant: Counter[str] = Counter()
        self.by_group: Counter[str] = Counter()
        self.by_template: Counter[str] = Counter()
        self.items: dict[str, Counter[str]] = {}
        people = rows["principal_ref"].filter(rows["principal_ref"] != "").n_unique()
        self.per_person: int | None = None
        if self.caps.principal is not None and people >= _PEOPLE_NEEDED:
            self.per_person = max(_ITEMS_A_PERSON, int(self.caps.principal * corrections["source_id"].n_unique()))
        elif self.caps.principal is not None and people:
            self.notes.append(f"cap per principal is off: {people} people, {_PEOPLE_NEEDED} are needed")

    def is_full(self, source: str) -> bool:
        """Whether no further row of a source can enter."""
        return self.by_source[source] >= self.quotas[source]

    def reason_of_the_rest(self, source: str) -> pl.Expr:
        """What `refuses` would say of each row of a source that is full."""
        full = pl.lit("budget" if source == "correction" else f"share_{source}")
        if source != "verified":
            return full
        return pl.when(self._is_touched()).then(pl.lit("tool_is_corrected")).otherwise(full)

    def refuses(self, unit: Sequence[Row]) -> str | None:
        """Why a unit may not be taken now: budget, cap_... or tool_is_corrected; None when it may."""
        first, size = unit[0], len(unit)
        if first["source"] == "verified" and first["tool"] in self.touched:
            return "tool_is_corrected"
        if self.by_source[first["source"]] + size > self.quotas[first["source"]]:
            return "budget" if first["source"] == "correction" else f"share_{first['source']}"
        person = first["principal_ref"]
        if self.per_person is not None and person and first["source"] in ("correction", "verified"):
            mine = self.items.get(person, Counter())
            if first["source_id"] not in mine and len(mine) >= self.per_person:
                return "cap_principal"
        tenants = (
            None
            if self.caps.tenant is None
            else max(1, int(self.caps.tenant * min(self.budget, sum(self.quotas.values()))))
        )
        if tenants is not None and first["tenant_id"] and self.by_tenant[first["tenant_id"]] + size > tenants:
            return "cap_tenant"
        for name, limit, counts in (
            ("near_duplicate_group", self.caps.near_duplicate_group, self.by_group),
            ("template", self.caps.template, self.by_template),
        ):
            key = first["near_duplicate_group" if name == "near_duplicate_group" else "template_id"]
            # What people corrected is not capped away as a whole: the first of a group always enters.
            if limit is not None and counts[key] and counts[key] + size > limit and first["source"] != "replay":
                return f"cap_{name}"
        return None

    def _is_touched(self) -> pl.Expr:
        """Whether a row's unit begins with a tool that corrections teach; a reply in words is none."""
        return pl.col("tool").first().over("unit").is_in(sorted(self.touched)).fill_null(False)

    def take(self, unit: Sequence[Row]) -> None:
        """Count a unit as taken."""
        for row in unit:
            self._count(row, 1)

    def give_back(self, row: Row) -> None:
        """A row that was taken does not enter after all."""
        self._count(row, -1)

    def _count(self, row: Row, by: int) -> None:
        self.by_source[row["source"]] += by
        self.by_group[row["near_duplicate_group"]] += by
        self.by_template[row["template_id"]] += by
        if row["tenant_id"]:
            self.by_tenant[row["tenant_id"]] += by
        if row["principal_ref"]:
            mine = self.items.setdefault(row["principal_ref"], Counter())
            mine[row["source_id"]] += by
            if not mine[row["source_id"]]:
                del mine[row["source_id"]]


def _quotas(there: Mapping[str, int], settings: Datasets) -> dict[str, int]:
    """Rows each source may fill. Others take at most their share of the budget; corrections have the rest, at least half."""
    budget = settings.row_budget
    corrections = there.get("correction", 0)
    wished = {
        "demonstration": min(there.get("demonstration", 0), int(settings.demonstrations * budget)),
        "verified": min(there.get("verified", 0), int(settings.verified_good * corrections)),
    }
    before = min(corrections, budget) + sum(wished.values())
    replay = min(there.get("replay", 0), int(min(before, budget) * settings.replay / max(0.01, 1 - settings.replay)))
    quotas = {**wished, "replay": replay}
    room = max(budget // 2, budget - min(sum(quotas.values()), budget))
    quotas["correction"] = min(corrections, room)
    left = budget - quotas["correction"]
    for source in ("replay", "demonstration", "verified"):
        quotas[source] = min(quotas[source], left)
        left -= quotas[source]
    return quotas
