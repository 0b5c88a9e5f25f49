"""Every knob of an installation, one class, environment prefix FLYWHEEL_. What belongs to one workflow lies in its pack."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """An installation's settings; each can be set as an environment variable, e.g. FLYWHEEL_HOME.

    Attributes:
        home: folder of packs, inbox, lake, model cache and QA store; relative to the working folder.
        time_zone: zone in which a week starts on Monday 00:00.
        first_week: first Monday there is a partition for.
        threads: CPU threads a training or serving child may use.
        serve_start_seconds: how long vLLM may take to answer its health check.
        qa_store_url: FLYWHEEL_QA_STORE, a `postgresql+psycopg2://` URL that all workflows share; empty: an SQLite file for each.
        vault_folder: where keys and originals lie instead of `home`/vault, e.g. on an encrypted disk.
        teacher_key: FLYWHEEL_TEACHER_KEY, the bearer token of a teacher's endpoint; never written anywhere.
        base_model: base model to use instead of the one the pack names, e.g. tiny-random for `make lap`.
    """

    model_config = SettingsConfigDict(env_prefix="FLYWHEEL_")

    home: Path = Path(".flywheel")
    time_zone: str = "UTC"
    first_week: str = "2026-01-05"
    threads: int = 2
    serve_start_seconds: int = 240
    base_model: str | None = None
    teacher_key: str | None = None
    vault_folder: Path | None = None
    qa_store_url: str | None = Field(default=None, validation_alias=AliasChoices("FLYWHEEL_QA_STORE", "qa_store_url"))

    def workflows(self) -> Path:
        """Folder of the workflow packs."""
        return self.home / "workflows"

    def inbox(self, workflow: str) -> Path:
        """Folder production writes its traces to."""
        return self.home / "inbox" / workflow

    def lake(self) -> Path:
        """Root of the Delta tables."""
        return self.home / "lake"

    def vault(self) -> Path:
        """Keys and originals of redacted values; outside the lake, never copied with it."""
        return self.vault_folder or self.home / "vault"

    def models(self) -> Path:
        """Cache of base models, content-addressed."""
        return self.home / "models"

    def checkpoints(self, workflow: str) -> Path:
        """Folder of a workflow's adapters."""
        return self.home / "checkpoints" / workflow

    def qa_store(self, workflow: str) -> Path:
        """The correction event log where no URL is set; open it through `corrections.stores.open_store`."""
        return self.home / "qa" / f"{workflow}.sqlite"

    def teacher(self) -> Path:
        """What teacher models showed and nobody accepted yet, by workflow."""
        return self.home / "teacher"

    def replay(self) -> Path:
        """What base models answered to frozen prompts; sets belong to a base, and workflows share them."""
        return self.home / "replay"

    def egress_log(self, workflow: str) -> Path:
        """One line for each send to an endpoint: host, counts and hash, never the content."""
        return self.home / "egress" / f"{workflow}.jsonl"

    def report(self, workflow: str, week: str) -> Path:
        """The weekly page."""
        return self.home / "reports" / workflow / f"{week}.html"

    def simulation(self, workflow: str, week: str) -> Path:
        """What the demo's simulated customers really wanted; no stage of the week reads it."""
        return self.home / "simulation" / workflow / week

    def scratch(self, workflow: str, week: str, stage: str) -> Path:
        """Where a stage's children keep specs, results and logs."""
        return self.home / "scratch" / workflow / week / stage
