"""What a person does about the pointer: approve a week's PROMOTE, override, roll back. Each is one row of the promotion log.

An act is refused, and leaves nothing behind, when its name or reason is missing, when it does not follow from what the log says
now, or when the adapter is not whole. Two people at once: the second is told what the first did.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.promotion.adapter_files import open_served
from flywheel.promotion.pointer import BASE, Kind, decided, entry, history, newest_decided, next_moment, serving
from flywheel.serving.trained_on import TrainedOn, trained_on
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack
from flywheel.workflows.serving_settings import is_endpoint


class Release(NamedTuple):
    """An act: its log entry, and False where it stood in the log already and nothing was done."""

    entry: dict[str, Any]
    moved: bool


class Releases(NamedTuple):
    """The acts of one workflow."""

    lake: Lake
    settings: Settings
    pack: Pack
    base: BaseModel

    def log(self) -> pl.DataFrame:
        """The promotion log as it is now."""
        return self.lake.read_weeks("promotion_log", workflow=self.pack.name)

    def serves(self, log: pl.DataFrame) -> str:
        """What serves after these entries: the pack's first incumbent before there were any."""
        return serving(log, first=self.pack.first_incumbent)

    def trained_on(self, adapter_id: str) -> TrainedOn:
        """The pack and base model that an adapter serves with; raises FlywheelError when its base model is gone."""
        return trained_on(self.lake, self.pack, self.base, self.settings.models(), adapter_id)

    def approve(self, week: str, *, by: str, reason: str = "") -> Release:
        """Let a week's promoted candidate serve; the same approval twice is once."""
        _named(by)
        log = self.log()
        decision = self._promoted(log, week)
        candidate = decision["candidate_adapter_id"]
        row = decided(log, week) or {}
        if row.get("served_adapter_id") == candidate:
            return self._again(log, row, candidate)
        for act in log.filter(kind="approval", decision_id=row["decision_id"]).iter_rows(named=True):
            return self._again(log, act, candidate)
        if self.serves(log) != decision["incumbent_adapter_id"]:
            raise FlywheelError(
                f"{candidate} was judged against {decision['incumbent_adapter_id']}, and {self.serves(log)} serves meanwhile",
                where=f"promotion_log of {self.pack.name}", remedy=_override_remedy(self.pack.name, candidate),
            )  # fmt: skip
        return self._move(log, candidate, "approval", by=by, reason=reason, decision=row)

    def override(self, adapter_id: str, *, by: str, reason: str) -> Release:
        """Let any whole adapter serve, whatever was decided of it."""
        _named(by)
        _reasoned(reason, "--override")
        log = self.log()
        if adapter_id == self.serves(log):
            raise FlywheelError(f"{adapter_id} serves already", where=self.pack.name, remedy="nothing is to be done")
        return self._move(log, adapter_id, "override", by=by, reason=reason)

    def roll_back(self, *, by: str, reason: str, override: bool = False) -> Release:
        """Let serve again what served before; an adapter that was trained on other tools needs `override` (design.md 8.12)."""
        _named(by)
        _reasoned(reason, "a rollback")
        log = self.log()
        standing = history(log, first=self.pack.first_incumbent)
        if len(standing) < 2:
            raise FlywheelError(f"there is nothing to roll back: nothing served before {_called(standing[0].adapter_id)}",
                                where=f"promotion_log of {self.pack.name}", remedy="flywheel status says what serves")  # fmt: skip
        previous = standing[-2].adapter_id
        if not override and (differs := self._other_tools(previous)):
            raise FlywheelError(
                f"{previous} {differs}", where=f"{self.pack.folder / 'tools.json'}",
                remedy="restore those tools, or say that it may serve all the same: flywheel rollback … --override",
            )  # fmt: skip
        return self._move(log, previous, "rollback", by=by, reason=reason)

    def adapter_of_week(self, week: str) -> str:
        """The adapter that a week trained."""
        trained = self.lake.read_columns(
            "checkpoint", ("adapter_id",), workflow=self.pack.name, where=pl.col("week") == week
        )
        if not trained.height:
            raise FlywheelError(f"week {week} trained no adapter", where=f"checkpoint of {self.pack.name}",
                                remedy=f"name one by --adapter: {', '.join(self._known()) or 'there is none yet'}")  # fmt: skip
        return trained["adapter_id"][0]

    def _promoted(self, log: pl.DataFrame, week: str) -> dict[str, Any]:
        """The week's decision, when it is the newest and says PROMOTE."""
        workflow = self.pack.name
        if not self.lake.has_partition("promotion", workflow=workflow, week=week):
            raise FlywheelError(
                f"week {week} of {workflow} is not decided", where="promotion",
                remedy=f"decide it first: flywheel run --workflow {workflow} --week {week} --stage learn",
            )  # fmt: skip
        row = self.lake.read_partition("promotion", workflow=workflow, week=week).row(0, named=True)
        newest, logged = newest_decided(log), decided(log, week)
        if newest > week or logged is None:
            raise FlywheelError(
                f"week {week} is older than {newest}, which is decided: a past week moves nothing",
                where=f"promotion_log of {workflow}", remedy=_override_remedy(workflow, row["candidate_adapter_id"]),
            )  # fmt: skip
        for verdict in (row["verdict"], logged["verdict"]):
            if verdict != "PROMOTE":
                raise FlywheelError(
                    f"week {week} was not promoted: {verdict}", where=f"flywheel report --workflow {workflow} --week {week}",
                    remedy=_override_remedy(workflow, row["candidate_adapter_id"]),
                )  # fmt: skip
        same = (None, row["candidate_adapter_id"])  # None: an entry of before it was noted
        if logged["candidate_adapter_id"] not in same:
            raise FlywheelError(
                f"what was decided in week {week} is {logged['candidate_adapter_id']}, and the week was judged anew with {row['candidate_adapter_id']}",
                where=f"promotion_log of {workflow}", remedy=_override_remedy(workflow, row["candidate_adapter_id"]),
            )  # fmt: skip
        return row

    def _again(self, log: pl.DataFrame, act: dict[str, Any], candidate: str) -> Release:
        """The same approval a second time: nothing to do while it serves, refused once it was taken back."""
        if self.serves(log) == candidate:
            return Release(act, moved=False)
        last = log.sort("week", "decided_at").row(-1, named=True)
        raise FlywheelError(
            f"{candidate} was released by {act['by']} already, and {last['kind']} by {last['by']} took it back: {last['reason']}",
            where=f"promotion_log of {self.pack.name}", remedy=_override_remedy(self.pack.name, candidate),
        )  # fmt: skip

    def _move(
        self, log: pl.DataFrame, adapter_id: str, kind: Kind, *, by: str, reason: str,
        decision: dict[str, Any] | None = None,
    ) -> Release:  # fmt: skip
        """Append the act and nothing else; raises ConcurrentWrite when the log has grown since it was read."""
        others = [BASE, *([self.pack.first_incumbent] if self.pack.first_incumbent else [])]
        ours = kind != "rollback" or not is_endpoint(adapter_id)  # a rollback leads to what the log holds
        if ours and adapter_id not in {*others, *self._known()}:
            raise FlywheelError(f"no checkpoint of {self.pack.name} is called {adapter_id!r}", where="checkpoint",
                                remedy=f"name one of: {', '.join([*others, *self._known()])}")  # fmt: skip
        if not is_endpoint(adapter_id):
            open_served(self.settings, self.pack.name, adapter_id, self.trained_on(adapter_id).base)
        behind = decision or {"decision_id": None, "verdict": None}
        row = entry(
            newest_decided(log), behind["decision_id"], behind["verdict"], self.serves(log), adapter_id,
            next_moment(log, datetime.now(UTC)), candidate=adapter_id, kind=kind, by=by.strip(), reason=reason.strip(),
            tools_sha256=self.pack.tools_sha256, place=log.height,
        )  # fmt: skip
        self.lake.append_new("promotion_log", [row], workflow=self.pack.name, expected=log.height)
        return Release(row, moved=True)

    def _known(self) -> list[str]:
        trained = self.lake.read_columns("checkpoint", ("week", "adapter_id"), workflow=self.pack.name)
        return list(dict.fromkeys(trained.sort("week")["adapter_id"]))

    def _other_tools(self, adapter_id: str) -> str | None:
        """What is to be said of an adapter that was not trained on today's tools; None where it was, of the base model and of an endpoint."""
        if adapter_id == BASE or is_endpoint(adapter_id):
            return None
        trained = self.lake.read_columns(
            "checkpoint", ("tools_sha256",), workflow=self.pack.name, where=pl.col("adapter_id") == adapter_id
        )
        tools = set(trained["tools_sha256"])
        if self.pack.tools_sha256 in tools:
            return None
        return "was trained on other tools" if tools - {None} else "does not say which tools it was trained on"


def _called(adapter_id: str) -> str:
    return "the base model" if adapter_id == BASE else adapter_id


def _named(by: str) -> None:
    if not by.strip():
        raise FlywheelError(
            "nobody says who does this", where="--by", remedy="release is a person's act: say --by NAME"
        )


def _reasoned(reason: str, what: str) -> None:
    if not reason.strip():
        raise FlywheelError(f"{what} needs a reason", where="--reason", remedy="say why, for those who read the log")


def _override_remedy(workflow: str, adapter_id: str) -> str:
    return (
        f"if it is to serve all the same: flywheel promote --workflow {workflow} --override --adapter {adapter_id} "
        "--by NAME --reason TEXT"
    )
