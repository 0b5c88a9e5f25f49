"""One line of `make bench`, the same for all who measure."""

from typing import Any


def row(
    name: str, value: float, unit: str, *, baseline: float | None = None, target: float | None = None
) -> dict[str, Any]:
    """A bench row; the target is met by the ratio to the baseline, or by the value where there is none."""
    ratio = value / baseline if baseline else None
    reached = value if ratio is None else ratio
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "baseline": baseline,
        "ratio": ratio,
        "target": target,
        "ok": target is None or reached >= target,
    }
