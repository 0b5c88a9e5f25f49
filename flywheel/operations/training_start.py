"""What a week's training starts from, read across the stages: what serves before it, and what was withdrawn since."""

from flywheel.datasets.withdrawals import tainted, withdrawn_sources
from flywheel.lake import Lake
from flywheel.promotion.pointer import serving
from flywheel.settings import Settings
from flywheel.training.start import Start, start_of
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack


def week_start(
    lake: Lake, settings: Settings, pack: Pack, base: BaseModel, week: str, *, template_sha256: str
) -> Start:
    """What the week starts from; of `training.start: incumbent` nothing that was withdrawn, erased or is asked by the benchmark since.

    Args:
        template_sha256: of the template that the week's rows are rendered with.
    """
    workflow = pack.name
    incumbent = serving(
        lake.read_weeks("promotion_log", workflow=workflow), before_week=week, first=pack.first_incumbent
    )
    withdrawn = {
        one.adapter_id
        for kind, values in withdrawn_sources(lake, workflow).items()
        for value in values
        for one in tainted(lake, workflow, kind, value)
    }
    return start_of(
        lake, settings, pack, base, incumbent=incumbent, template_sha256=template_sha256, withdrawn=withdrawn
    )
