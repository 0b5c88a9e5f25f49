"""What is done again and again in a house that has no checkpoint yet: the command, people who accept, a benchmark, a model."""

from pathlib import Path

from typer.testing import CliRunner

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.fingerprints import tool_vocabulary
from flywheel.benchmark.freeze import frozen_and_retired, frozen_row
from flywheel.chat.families import find_family
from flywheel.cli import app
from flywheel.datasets.week_zero.ledger import decide, ledger_of, lot_of, may_look
from flywheel.lake import Lake
from flywheel.settings import Settings
from flywheel.training.tiny_tokenizer import train_tokenizer
from flywheel.workflows.base_model import write_manifest
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK

DOOR = Path(__file__).parents[2] / "packs" / "door"


ZERO = "2026-01-05"


def pack_of(settings: Settings) -> Pack:
    return load_pack(settings.workflows() / "door")


def typed(*words: str, **more) -> str:
    ended = CliRunner().invoke(app, ["bootstrap", "door", *words], catch_exceptions=False, **more)
    assert ended.exit_code == 0, ended.output
    return ended.output


def accepted(settings: Settings, *people: str) -> None:
    """People accept everything that waits for them."""
    pack = pack_of(settings)
    ledger = ledger_of(settings.bootstrap(), pack.folder)
    for by in people:
        for one in lot_of(ledger, pack).of("first", "second"):
            if may_look(one, by):
                decide(ledger, pack, one.row["id"], by=by, accept=True)
    assert not lot_of(ledger, pack).of("first", "second")


def frozen(settings: Settings) -> None:
    pack, lake = pack_of(settings), Lake(settings.lake())
    words = tool_vocabulary(pack.tools)
    rows = [frozen_row(case, pack.tools_sha256, words) for case in load_cases(pack.folder / "benchmark", pack.tools)]
    lake.replace_partition("benchmark", frozen_and_retired(lake.empty("benchmark"), rows), workflow="door")


def a_model(settings: Settings) -> None:
    model = settings.models() / "tiny-random-000000000000"
    model.mkdir(parents=True)
    train_tokenizer(SUPPORT_DESK, find_family("chatml_hermes").special_tokens).save(str(model / "tokenizer.json"))
    write_manifest(model, sha256="0" * 64, source="a test")
