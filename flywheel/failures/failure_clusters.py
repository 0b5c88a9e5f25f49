"""Failure clusters: failures that share tool, bucket and first error, under a name a person can read."""

import re


def cluster_name(tool: str | None, bucket: str, first_error: str) -> str:
    """`tool · bucket · error`, numbers and quoted values removed so that instances of one defect share it."""
    error = re.sub(r"'[^']*'|\"[^\"]*\"", "…", first_error)
    error = re.sub(r"\d+", "#", error).strip()
    return f"{tool or 'no tool'} · {bucket} · {error}"
