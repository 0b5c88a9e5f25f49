"""deploy/compose.yaml as Compose reads it, with the variables of an .env put in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def compose(variables: Mapping[str, str], file: Path = DEPLOY / "compose.yaml") -> dict[str, Any]:
    """The parsed file; KeyError for a variable that must be given and is missing or empty, as Compose refuses it."""

    def value(found: re.Match[str]) -> str:
        name, kind, text = found.groups()
        if not variables.get(name) and kind != "-":
            raise KeyError(name)
        return variables.get(name) or text

    return yaml.safe_load(_VARIABLE.sub(value, file.read_text(encoding="utf-8")).replace("$$", "$"))


def variables(file: Path = DEPLOY / "compose.yaml") -> dict[str, str | None]:
    """Every variable of the file with its default, None where it must be given."""
    found = _VARIABLE.findall(file.read_text(encoding="utf-8"))
    return {name: text if kind == "-" else None for name, kind, text in found}


SECRETS = {
    "FLYWHEEL_POSTGRES_PASSWORD": "p0stgres5ecret",
    "FLYWHEEL_DAGSTER_PASSWORD": "dagster5ecret",
    "FLYWHEEL_QA_PASSWORD": "corrections5ecret",
}
GIVEN = {**SECRETS, "FLYWHEEL_SITE": "flywheel.localhost", "FLYWHEEL_WORKBENCH_SITE": "corrections.localhost",
         "FLYWHEEL_WORKFLOW": "door"}  # fmt: skip
