"""A workflow pack in memory: settings, tools, prompt and guidelines of one agent."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flywheel.chat.families import FAMILIES, FamilyName
from flywheel.toolcalls.arguments import sha256_of
from flywheel.toolcalls.structured_answers import ResponseSchema
from flywheel.workflows.alert_settings import Alerts
from flywheel.workflows.budget_settings import Budget
from flywheel.workflows.environment import Environment, load_environment
from flywheel.workflows.evaluation_settings import Decoding, Evaluation
from flywheel.workflows.hook import Hook
from flywheel.workflows.learn_settings import LearnWhen, WeekZero
from flywheel.workflows.privacy_settings import Egress, Privacy
from flywheel.workflows.responses import Response
from flywheel.workflows.retention_settings import Retention
from flywheel.workflows.route import Route
from flywheel.workflows.serving_settings import Attach, FirstIncumbent
from flywheel.workflows.skill_settings import Skills
from flywheel.workflows.training_settings import Training


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Gate(_Strict):
    """Margins and limits of the promotion gate, see docs/gate.md.

    `margin` is the non-inferiority margin (0 to 1); None: what the benchmark's cases resolve when two equally good models differ
    on a share `discordance` of them, or on more if the A/A run shows it. `floors` and `ceilings` are absolute limits of the
    candidate's metrics (schema_valid_rate, step_seconds_p95, cost_per_1000_steps, ...); `max_forgetting_nats` is how much worse than
    the base model a candidate may become on the frozen general texts, and on tools nobody corrected, in nats a token; None:
    measured and shown, not judged. `looks` is after how many verdicts the benchmark's core is to be refreshed.
    """

    margin: float | None = Field(default=None, gt=0, lt=1)
    discordance: float = Field(default=0.2, gt=0, le=1)
    floors: dict[str, float] = {"schema_valid_rate": 0.9}
    ceilings: dict[str, float] = {}
    max_forgetting_nats: float | None = Field(default=None, gt=0)
    looks: int = Field(default=12, ge=1)


class Batch(_Strict):
    """How much is handed to the experts each week, and when it is over.

    `deadline_days` after its opening a batch with at least `min_fraction` of its items done closes; the rest rolls over.
    `max_conflicts` of the contexts that were answered differently go to adjudicators beside the items.
    """

    max_items: int = Field(default=72, ge=1)
    random_slice: int = Field(default=4, ge=0)
    minutes: float = Field(default=240, gt=0)
    minutes_per_item: float = Field(default=3, gt=0)
    deadline_days: float = Field(default=6, gt=0)
    min_fraction: float = Field(default=0.5, ge=0, le=1)
    max_conflicts: int = Field(default=12, ge=0)


class Quality(_Strict):
    """How the experts' work is checked; shares are of the batch, and the planted ones together never pass a quarter of it.

    A batch is refused when fewer than `gold_pass_rate` of its gold answers are right, or the lower bound of the agreement named
    in `agreement_floors` (step, kind, tool, arguments) is known and below its floor. The audit refuses a lot in which
    `audit_defective_share` is wrong with probability `audit_confidence`.
    """

    overlap: float = Field(default=0.12, ge=0, le=0.25)
    gold: float = Field(default=0.05, ge=0, le=0.25)
    known_bad: float = Field(default=0.05, ge=0, le=0.25)
    gold_pass_rate: float = Field(default=0.9, ge=0, le=1)
    agreement_floors: dict[Literal["step", "kind", "tool", "arguments"], float] = {}
    audit_defective_share: float = Field(default=0.1, gt=0, lt=1)
    audit_confidence: float = Field(default=0.9, gt=0, lt=1)


class Caps(_Strict):
    """How much of the mix may come from one place, as a share of its rows (0 to 1) or a number of rows; None for no cap.

    One person: at most max(3 corrections, `principal` of all), off with a warning under 20 people (design.md 8.11).
    """

    principal: float | None = Field(default=0.02, gt=0, le=1)
    tenant: float | None = Field(default=None, gt=0, le=1)
    near_duplicate_group: int | None = Field(default=50, ge=1)
    template: int | None = Field(default=None, ge=1)


class Poisoning(_Strict):
    """When a string in targets is new and suddenly frequent: in at least so many of the new rows, and so large a share."""

    minimum_rows: int = Field(default=8, ge=2)
    share: float = Field(default=0.05, gt=0, le=1)
    links_and_numbers: int = Field(default=3, ge=2)


class Datasets(_Strict):
    """How a week's mix is made; see `flywheel.datasets`.

    `remedies` overrides the remedy of a failure bucket, `tool_migrations` names a renamed tool's successor, `context_policy` is how
    the agent shortens its history in production, `lost_to_length` is how many corrections may be left out for their length,
    `held_out` the share of near-duplicate groups that never trains, `replay_prompts` a file of the pack's own prompts for replay.
    """

    row_budget: int = Field(default=6_000, ge=1)
    half_life_weeks: float = Field(default=8, gt=0)
    demonstrations: float = Field(default=1.0, ge=0, le=1)
    verified_good: float = Field(default=1.0, ge=0)
    replay: float = Field(default=0.08, ge=0, le=0.5)
    replay_prompts: str | None = None
    held_out: float = Field(default=0.0, ge=0, le=0.5)
    caps: Caps = Caps()
    poisoning: Poisoning = Poisoning()
    remedies: dict[str, list[Literal["steps", "pair", "trajectory"]]] = {}
    tool_migrations: dict[str, str] = {}
    context_policy: Literal["none", "elide_tool_results", "drop_oldest_turns"] = "none"
    lost_to_length: int = Field(default=0, ge=0)
    examples_per_branch: int = Field(default=3, ge=1)


class Scaffold(_Strict):
    """Calls that the harness around the model makes by itself; they are never the model's fault.

    `tools` are always injected; `call_id_prefixes` and `argument_texts` name single calls by how they are marked.
    """

    tools: list[str] = []
    call_id_prefixes: list[str] = []
    argument_texts: list[str] = []


class Traces(_Strict):
    """Where production's logs come from and how they are read.

    `inbox` is a folder or an fsspec URL instead of the installation's own; `format` an adapter instead of sniffing; of `routes` the first
    that holds says whose a run is, and a run that none knows is quarantined as `unrouted`. Without routes every run is this workflow's.
    `workers` read at once (FLYWHEEL_EXECUTOR says where); the table is laid out in `shards`, in which they find failures side by side.
    """

    inbox: str | None = None
    format: (
        Literal["messages", "chat_completions", "nvidia_flywheel", "otel_genai", "openinference", "langfuse"] | None
    ) = None
    shards: int = Field(default=1, ge=1, le=256)
    workers: int = Field(default=1, ge=1, le=64)
    routes: list[Route] = []


class WorkflowSettings(_Strict):
    """`workflow.yaml`: who owns the workflow and how its week turns.

    `rates` are costs an hour in one currency: accelerator_hour, expert_hour, and annotator_hour to auditor_hour where they differ.
    `trainer` and `serving` say whether this machine trains and serves: where it does not, learn stops there and says so; `attach` is a
    server that runs already (docs/elsewhere.md). `first_incumbent` is the endpoint that answers production until a first release.
    """

    owner: str
    description: str = ""
    base_model: str = "smollm2-135m-instruct"
    model_family: FamilyName = "chatml_hermes"
    qa_mode: Literal["three", "two"] = "three"
    release: Literal["approval", "automatic"] = "approval"
    on_promote: Hook | None = None
    on_rollback: Hook | None = None
    max_model_len: int = Field(default=2048, ge=128)
    traces: Traces = Traces()
    privacy: Privacy = Privacy()
    egress: list[Egress] = []
    alerts: Alerts = Alerts()
    scaffold: Scaffold = Scaffold()
    decoding: Decoding = Decoding()
    gate: Gate = Gate()
    batch: Batch = Batch()
    quality: Quality = Quality()
    rates: dict[str, float] = {}
    budget: Budget = Budget()
    learn_when: LearnWhen = LearnWhen()
    week_zero: WeekZero = WeekZero()
    trainer: Literal["here", "elsewhere"] = "here"
    serving: Literal["here", "attach", "elsewhere"] = "here"
    attach: Attach | None = None
    first_incumbent: FirstIncumbent | None = None
    training: Training = Training()
    datasets: Datasets = Datasets()
    evaluation: Evaluation = Evaluation()
    retention: Retention = Retention()
    responses: list[Response] = []
    skills: Skills = Skills()
    # What makes a production step good without a person: the source's reward, or its gold actions. None by default.
    verifiers: list[Literal["reward", "gold_actions"]] = []

    @model_validator(mode="after")
    def _attached_to_something(self) -> "WorkflowSettings":
        if (self.serving == "attach") != (self.attach is not None):
            raise ValueError(
                "serving: attach and attach: {url: http://127.0.0.1:8000/v1} go together (docs/elsewhere.md)"
            )
        return self

    @property
    def lora_rank(self) -> int:
        """Rank of the weekly adapter: the pack's, else the family's."""
        return self.training.lora_rank or FAMILIES[self.model_family].profile.lora_rank


@dataclass(frozen=True)
class Pack:
    """One loaded workflow pack.

    Attributes:
        name: folder name, a lower-case identifier.
        folder: where it lies.
        settings: `workflow.yaml`.
        tools: OpenAI functions, with our `x-` keys.
        tools_sha256: hash of what the model sees of them.
        system: the system prompt, byte for byte.
        guidelines: what the experts follow.
        responses: schemas of structured answers, in the order in which they are asked whether they apply.
    """

    name: str
    folder: Path
    settings: WorkflowSettings
    tools: list[dict[str, Any]]
    tools_sha256: str
    system: str
    guidelines: str
    responses: tuple[ResponseSchema, ...] = ()

    @property
    def contract_sha256(self) -> str:
        """Hash of what answers are held against: the tools and, where there are any, the response schemas."""
        if not self.responses:
            return self.tools_sha256
        return sha256_of([self.tools_sha256, *([one.name, one.schema] for one in self.responses)])

    @property
    def first_incumbent(self) -> str | None:
        """Id of the endpoint that serves until an adapter was released; None where that is the base model."""
        first = self.settings.first_incumbent
        return first.endpoint.id if first else None

    def response(self, name: str) -> ResponseSchema | None:
        """The response schema of that name; None where the pack declares none."""
        return next((one for one in self.responses if one.name == name), None)

    def environment(self, seed: int, overrides: dict[str, Any] | None = None) -> Environment:
        """A fresh world of the pack's simulator."""
        return load_environment(self.folder / "environment.py").make_environment(seed, overrides)

    def environment_sha256(self) -> str | None:
        """Hash of the simulator's file; None where the pack ships none."""
        file = self.folder / "environment.py"
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None

    def has_environment(self) -> bool:
        """Whether the pack ships a simulator."""
        return (self.folder / "environment.py").is_file()

    def write_tools(self) -> set[str]:
        """Names of the tools that change something."""
        return {tool["function"]["name"] for tool in self.tools if tool.get("x-access") == "write"}
