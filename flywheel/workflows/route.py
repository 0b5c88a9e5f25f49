"""One route of a pack: which runs of a log that several workflows share belong to which workflow."""

from pydantic import BaseModel, ConfigDict, model_validator


class Route(BaseModel):
    """Which runs of a log that several workflows share are whose: all conditions named must hold.

    `workload_id`, `agent_name`, `request_model`: one of these; `system_contains`: text of the system prompt; `tools`: the run was offered
    (where none are logged: called) one of these.
    """

    model_config = ConfigDict(extra="forbid")

    workflow: str
    workload_id: list[str] = []
    agent_name: list[str] = []
    request_model: list[str] = []
    system_contains: str | None = None
    tools: list[str] = []

    @model_validator(mode="after")
    def _tells_something(self) -> "Route":
        if not (self.workload_id or self.agent_name or self.request_model or self.system_contains or self.tools):
            raise ValueError(
                "a route needs a condition: workload_id, agent_name, request_model, system_contains or tools"
            )
        return self
