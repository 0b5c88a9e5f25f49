"""`attach` of `workflow.yaml`: a server that runs already and is asked instead of one of ours (docs/elsewhere.md)."""

from pydantic import BaseModel, ConfigDict, Field


class Attach(BaseModel):
    """Where the server is, and how things are called there.

    Attributes:
        url: its base URL, as in http://127.0.0.1:8000/v1. A host elsewhere stands under `egress` with the purpose server.
        base: name under which it serves the base model.
        adapters_folder: folder in which the server finds the adapters, for loading them while it runs; without it ours, as on this machine.
    """

    model_config = ConfigDict(extra="forbid")

    url: str = Field(pattern=r"^https?://")
    base: str = Field(default="base", min_length=1)
    adapters_folder: str | None = None
