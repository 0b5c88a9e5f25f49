"""Every knob of an installation, one class, environment prefix FLYWHEEL_. What belongs to one workflow lies in its pack."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from flywheel.errors import FlywheelError
from flywheel.parallel import Executor, Workers

# They may hold passwords and tokens; children that train and serve, and the hooks of a pack, are started without them.
SECRETS = (
    "FLYWHEEL_ALERT_WEBHOOK",
    "FLYWHEEL_ALERT_SMTP",
    "FLYWHEEL_ALERT_SMTP_PASSWORD",
    "FLYWHEEL_TEACHER_KEY",
    "FLYWHEEL_FRONTIER_KEY",
    "FLYWHEEL_SERVER_KEY",
    "FLYWHEEL_QA_STORE",
)

_DEPLOYMENT = (
    "FLYWHEEL_DAGSTER_DATABASE",
    "FLYWHEEL_DAGSTER_PASSWORD",
    "FLYWHEEL_QA_PASSWORD",
)  # read by Dagster and compose, not by us


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without the installation's passwords and tokens, for a child that needs none."""
    return {name: value for name, value in environment.items() if name not in (*SECRETS, *_DEPLOYMENT)}


_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


def part(name: str) -> str:
    """A workflow's or week's name as one part of a path; raises FlywheelError for one that would lead elsewhere."""
    if not _PART.fullmatch(name):
        raise FlywheelError(
            f"{name[:80]!r} is no name of a workflow or week", remedy="write them as in support_desk and 2026-01-05"
        )
    return name


class Settings(BaseSettings):
    """An installation's settings; each can be set as an environment variable, e.g. FLYWHEEL_HOME.

    Attributes:
        home: folder of packs, inbox, lake, model cache and QA store; relative to the working folder.
        time_zone: zone in which a week starts on Monday 00:00.
        first_week: first Monday there is a partition for.
        threads: CPU threads a training or serving child may use.
        serve_start_seconds: how long vLLM may take to answer its health check.
        lake_root: FLYWHEEL_LAKE, where the Delta tables lie instead of `home`/lake: a folder, or `s3://bucket/prefix`; keys and endpoint
            of a bucket stand in the environment (AWS_...), never in an address.
        learn_pod: FLYWHEEL_LEARN_POD, JSON: what the pod of `learn` gets on Kubernetes beside what all runs get, in the form of Dagster's
            tag dagster-k8s/config, e.g. an accelerator (docs/deployment.md).
        qa_store_url: FLYWHEEL_QA_STORE, a `postgresql+psycopg2://` URL that all workflows share; empty: an SQLite file for each.
        models_folder: where base models lie instead of `home`/models: several homes may share them.
        vault_folder: where keys and originals lie instead of `home`/vault, e.g. on an encrypted disk.
        teacher_key: FLYWHEEL_TEACHER_KEY, the bearer token of a teacher's endpoint; never written anywhere.
        frontier_key: FLYWHEEL_FRONTIER_KEY, the same of an endpoint that is compared with ours.
        server_key: FLYWHEEL_SERVER_KEY, the same of an attached server (docs/elsewhere.md).
        executor: FLYWHEEL_EXECUTOR, who works on the shards of the data stages: serial, spawn or ray (docs/scale-out.md); how many at once
            stands in the pack as `traces.workers`.
        ray_address: FLYWHEEL_RAY_ADDRESS, HOST:PORT of a Ray that runs, or auto; empty starts one on this machine.
        retries, retry_seconds: how often a heavy stage tries again what may pass, and the first pause; each further one doubles it.
        sensor_seconds: how often the sensors that start runs look.
        ui_url: address of the Dagster UI, for the links in alerts.
        alert_webhook: FLYWHEEL_ALERT_WEBHOOK, a URL that takes Slack's JSON; it may hold a token, and is never written anywhere.
        alert_smtp: FLYWHEEL_ALERT_SMTP, e.g. smtp://127.0.0.1:25 or smtps://mail.example.org:465; people stand in the pack.
        alert_from, alert_smtp_user, alert_smtp_password: sender and account of alerts by mail.
        keep_versions_days: how long replaced versions of tables can still be read; pinned ones stay (docs/operations.md).
        keep_runs_days: how long runs of Dagster stay that later ones stand in for.
        disk_budget_gib: what FLYWHEEL_HOME may take; `doctor` fails beyond it. None: only free space is looked at.
        base_model: base model to use instead of the one the pack names, e.g. tiny-random for `make lap`.
    """

    # A repr, a traceback or a validation error never shows what a field marked `repr=False` holds.
    model_config = SettingsConfigDict(env_prefix="FLYWHEEL_", hide_input_in_errors=True)

    home: Path = Path(".flywheel")
    time_zone: str = "UTC"
    first_week: str = "2026-01-05"
    threads: int = 2
    serve_start_seconds: int = 240
    base_model: str | None = None
    executor: Executor = "spawn"
    ray_address: str = ""
    retries: int = Field(default=2, ge=0)
    retry_seconds: float = Field(default=30, ge=0)
    sensor_seconds: int = Field(default=300, ge=1)
    ui_url: str = "http://127.0.0.1:3000"
    alert_webhook: str | None = Field(default=None, repr=False)
    alert_smtp: str | None = Field(default=None, repr=False)
    keep_versions_days: int = Field(default=30, ge=1)
    keep_runs_days: int = Field(default=90, ge=1)
    disk_budget_gib: float | None = Field(default=None, gt=0)
    alert_from: str = "flywheel@localhost"
    alert_smtp_user: str | None = None
    alert_smtp_password: str | None = Field(default=None, repr=False)
    teacher_key: str | None = Field(default=None, repr=False)
    frontier_key: str | None = Field(default=None, repr=False)
    server_key: str | None = Field(default=None, repr=False)
    models_folder: Path | None = None
    vault_folder: Path | None = None
    learn_pod: dict[str, Any] = {}
    lake_root: str | None = Field(default=None, validation_alias=AliasChoices("FLYWHEEL_LAKE", "lake_root"))
    qa_store_url: str | None = Field(
        default=None, repr=False, validation_alias=AliasChoices("FLYWHEEL_QA_STORE", "qa_store_url")
    )

    def workers(self, count: int) -> Workers:
        """Who works on shards, `count` at once."""
        return Workers(count, self.executor, self.ray_address)

    def workflows(self) -> Path:
        """Folder of the workflow packs."""
        return self.home / "workflows"

    def inbox(self, workflow: str) -> Path:
        """Folder production writes its traces to."""
        return self.home / "inbox" / part(workflow)

    def lake(self) -> Path | str:
        """Root of the Delta tables: a folder, or the address of a bucket's prefix."""
        if self.lake_root and "://" in self.lake_root:
            return self.lake_root
        return Path(self.lake_root) if self.lake_root else self.home / "lake"

    def staging(self) -> Path:
        """Where a stage writes files that the lake takes over: on the lake's own disk, so that they are moved and not copied."""
        lake = self.lake()
        return lake / "_staging" if isinstance(lake, Path) else self.home / "staging"

    def vault(self) -> Path:
        """Keys and originals of redacted values; outside the lake, never copied with it."""
        return self.vault_folder or self.home / "vault"

    def models(self) -> Path:
        """Cache of base models, content-addressed."""
        return self.models_folder or self.home / "models"

    def checkpoints(self, workflow: str) -> Path:
        """Folder of a workflow's adapters."""
        return self.home / "checkpoints" / part(workflow)

    def trained_elsewhere(self, workflow: str, week: str) -> Path:
        """The record of what a machine elsewhere trained for a week; the adapter lies with the others."""
        return self.home / "trained_elsewhere" / part(workflow) / f"{part(week)}.json"

    def qa_store(self, workflow: str) -> Path:
        """The correction event log where no URL is set; open it through `corrections.stores.open_store`."""
        return self.home / "qa" / f"{part(workflow)}.sqlite"

    def teacher(self) -> Path:
        """What teacher models showed and nobody accepted yet, by workflow."""
        return self.home / "teacher"

    def bootstrap(self) -> Path:
        """Demonstrations for week zero, and what people said of them, by workflow."""
        return self.home / "bootstrap"

    def replay(self) -> Path:
        """What base models answered to frozen prompts; sets belong to a base, and workflows share them."""
        return self.home / "replay"

    def alerts(self) -> Path:
        """What people were told, a file a workflow, and the outbox of what no channel took yet."""
        return self.home / "alerts"

    def egress_log(self, workflow: str) -> Path:
        """One line for each send to an endpoint: host, counts and hash, never the content."""
        return self.home / "egress" / f"{part(workflow)}.jsonl"

    def pointer(self, workflow: str) -> Path:
        """The pointer file: what serves, for whoever serves it (docs/promotion.md)."""
        return self.home / "served" / f"{part(workflow)}.json"

    def bundles(self, workflow: str) -> Path:
        """Serving bundles that release hooks were told of, by digest."""
        return self.home / "bundles" / part(workflow)

    def report(self, workflow: str, week: str) -> Path:
        """The weekly page."""
        return self.home / "reports" / part(workflow) / f"{part(week)}.html"

    def reviews(self, workflow: str, week: str) -> Path:
        """Sheets for the people who check the evaluation; what they judged is in the lake."""
        return self.home / "reviews" / part(workflow) / part(week)

    def simulation(self, workflow: str, week: str) -> Path:
        """What the demo's simulated customers really wanted; no stage of the week reads it."""
        return self.home / "simulation" / part(workflow) / part(week)

    def scratch(self, workflow: str, week: str, stage: str) -> Path:
        """Where a stage's children keep specs, results and logs."""
        return self.home / "scratch" / part(workflow) / part(week) / stage
