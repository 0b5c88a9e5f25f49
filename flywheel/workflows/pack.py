"""A workflow pack in memory: settings, tools, prompt and guidelines of one agent."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flywheel.chat.families import FAMILIES, FamilyName
from flywheel.workflows.environment import Environment, load_environment


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Decoding(_Strict):
    """How production chooses tokens; the gate judges under the same mode."""

    mode: Literal["greedy_auto"] = "greedy_auto"
    max_tokens: int = Field(default=96, ge=1, le=4096)


class Gate(_Strict):
    """Margins and floors of the promotion gate.

    `margin` is the non-inferiority margin (0 to 1) and is fixed when the benchmark freezes; `floors` are absolute;
    `max_forgetting_nats` is how much worse than the base model a candidate may become on the frozen general texts, and on tools
    nobody corrected, in nats a token; None: measured and shown, not judged.
    """

    margin: float = Field(default=0.08, gt=0, lt=1)
    floors: dict[str, float] = {"schema_valid_rate": 0.9}
    max_forgetting_nats: float | None = Field(default=None, gt=0)


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


class LearnWhen(_Strict):
    """When a week trains: at least so many newly accepted corrections, else it is banked."""

    min_accepted: int = Field(default=8, ge=1)


class Training(_Strict):
    """Hyper-parameters of the weekly adapter; see `flywheel.training.spec` for what each does.

    What is None comes from the model family's profile (`flywheel.chat.families`).
    """

    lora_rank: int | None = Field(default=None, ge=1, le=64)
    lora_alpha: int | None = Field(default=None, ge=1)
    gradient_checkpointing: bool | None = None
    sft_learning_rate: float | None = Field(default=None, gt=0)
    dpo_learning_rate: float | None = Field(default=None, gt=0)
    sft_presentations: int = Field(default=480, ge=1)
    sft_max_epochs: int = Field(default=3, ge=1)
    rows_per_step: int = Field(default=16, ge=1)
    max_pack_tokens: int = Field(default=4096, ge=16)
    validation_share: float = Field(default=0.05, ge=0, le=0.5)
    steps_between_saves: int = Field(default=10, ge=1)
    patience: int = Field(default=3, ge=1)
    dpo_pairs: int = Field(default=32, ge=0)
    dpo_pairs_per_step: int = Field(default=8, ge=1)
    chosen_fall: float = Field(default=0.0, ge=0)
    dpo_beta: float = Field(default=0.1, gt=0)
    max_prompt_tokens: int = Field(default=2048, ge=16)
    seed: int = 0


class Caps(_Strict):
    """How much of the mix may come from one place, as a share of its rows (0 to 1) or a number of rows; None for no cap.

    One person: at most max(3 corrections, `principal` of all), off with a warning under 20 people (design.md 8.11).
    """

    principal: float | None = Field(default=0.02, gt=0, le=1)
    tenant: float | None = Field(default=None, gt=0, le=1)
    near_duplicate_group: int | None = Field(default=50, ge=1)
    template: int | None = Field(default=None, ge=1)


class Poisoning(_Strict):
    """When a string in targets is new and suddenly frequent: in at least so many of the week's new rows, and so large a share."""

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


class Evaluation(_Strict):
    """How the benchmark is run."""

    concurrency: int = Field(default=16, ge=1)
    repeat_cases: int = Field(default=60, ge=0)


class Privacy(_Strict):
    """What is taken out of traces before they are stored; fields are declared in tools.json (`x-pii`).

    `detector` is `module:function` from a list of texts to a list of [(kind, value)], the place for Presidio or a model.
    """

    redact: tuple[Literal["secret", "email", "iban", "card", "national_id", "phone"], ...] = (
        "secret", "email", "iban", "card", "national_id", "phone",
    )  # fmt: skip
    detector: str | None = None


class Egress(_Strict):
    """A host outside this machine that may be sent something: what for, and which personal data is looked for before each send.

    A request in which one of `redact` is found is not sent, and counted.
    """

    host: str = Field(pattern=r"^[a-z0-9.-]+$")
    purpose: Literal["teacher"]
    redact: tuple[Literal["secret", "email", "iban", "card", "national_id", "phone"], ...] = (
        "secret", "email", "iban", "card", "national_id", "phone",
    )  # fmt: skip


class Scaffold(_Strict):
    """Calls that the harness around the model makes by itself; they are never the model's fault.

    `tools` are always injected; `call_id_prefixes` and `argument_texts` name single calls by how they are marked.
    """

    tools: list[str] = []
    call_id_prefixes: list[str] = []
    argument_texts: list[str] = []


class Traces(_Strict):
    """Where production's logs come from and how they are read.

    `inbox` is a folder or an fsspec URL instead of the installation's own; `format` an adapter instead of sniffing.
    """

    inbox: str | None = None
    format: (
        Literal["messages", "chat_completions", "nvidia_flywheel", "otel_genai", "openinference", "langfuse"] | None
    ) = None
    shards: int = Field(default=1, ge=1, le=256)
    workers: int = Field(default=1, ge=1, le=64)


class WorkflowSettings(_Strict):
    """`workflow.yaml`: who owns the workflow and how its week turns.

    `rates` are costs an hour in one currency: expert_hour, and where they differ annotator_hour, reviewer_hour, adjudicator_hour,
    auditor_hour; accelerator_hour for training.
    """

    owner: str
    description: str = ""
    base_model: str = "smollm2-135m-instruct"
    model_family: FamilyName = "chatml_hermes"
    qa_mode: Literal["three", "two"] = "three"
    release: Literal["approval", "automatic"] = "approval"
    max_model_len: int = Field(default=2048, ge=128)
    traces: Traces = Traces()
    privacy: Privacy = Privacy()
    egress: list[Egress] = []
    scaffold: Scaffold = Scaffold()
    decoding: Decoding = Decoding()
    gate: Gate = Gate()
    batch: Batch = Batch()
    quality: Quality = Quality()
    rates: dict[str, float] = {}
    learn_when: LearnWhen = LearnWhen()
    training: Training = Training()
    datasets: Datasets = Datasets()
    evaluation: Evaluation = Evaluation()
    # What makes a production step good without a person: the source's reward, or its gold actions. None by default.
    verifiers: list[Literal["reward", "gold_actions"]] = []

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
    """

    name: str
    folder: Path
    settings: WorkflowSettings
    tools: list[dict[str, Any]]
    tools_sha256: str
    system: str
    guidelines: str

    def environment(self, seed: int, overrides: dict[str, Any] | None = None) -> Environment:
        """A fresh world of the pack's simulator."""
        return load_environment(self.folder / "environment.py").make_environment(seed, overrides)

    def has_environment(self) -> bool:
        """Whether the pack ships a simulator."""
        return (self.folder / "environment.py").is_file()

    def write_tools(self) -> set[str]:
        """Names of the tools that change something."""
        return {tool["function"]["name"] for tool in self.tools if tool.get("x-access") == "write"}
