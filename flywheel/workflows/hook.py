"""`on_promote` and `on_rollback` of `workflow.yaml`: whom to tell that another adapter serves."""

import os
import re

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flywheel.errors import FlywheelError

# What a webhook's address must not say where everybody who reads the pack can see it: user:password@, a query, a long random part.
_SECRET_IN_URL = re.compile(r"//[^/]*@|\?|/(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[A-Za-z0-9_\-]{20,}(?:/|$)|/services/")


class Hook(BaseModel):
    """Whom to tell that another adapter serves: a command (argv, run in the pack's folder, JSON on its stdin) or a webhook (POST).

    A webhook on another machine has to stand under `egress` with the purpose release_hook. An address that holds a token does not stand
    in the pack: `url: $NAME` reads it from the environment variable of that name.
    """

    model_config = ConfigDict(extra="forbid")

    command: list[str] = []
    url: str | None = None
    seconds: float = Field(default=60, gt=0, le=3600)

    @model_validator(mode="after")
    def _one_of_both(self) -> "Hook":
        if bool(self.command) == bool(self.url):
            raise ValueError("name either a command or a url")
        if self.url and not self.url.startswith("$") and _SECRET_IN_URL.search(self.url):
            raise ValueError(
                "the address holds a user, a token or a query: write url: $NAME, and set that environment variable"
            )
        return self

    def address(self) -> str:
        """The webhook's address; raises FlywheelError when the variable that holds it is not set."""
        name = str(self.url)
        if not name.startswith("$"):
            return name
        found = os.environ.get(name[1:])
        if not found:
            raise FlywheelError(f"{name} is not set", where="workflow.yaml: url of a hook", remedy=f"set the environment variable {name[1:]}")  # fmt: skip
        return found
