"""What most tests need: an empty house, the shipped pack, and a tokenizer small enough to train on the spot."""

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

# Before anything of flywheel is imported: the code location reads once, at import, which packs there are.
HOME = Path(tempfile.mkdtemp(prefix="flywheel-tests-"))
os.environ["FLYWHEEL_HOME"] = str(HOME)
os.environ["HF_HUB_OFFLINE"] = "1"
# Threads that wait sleep instead of spinning: a tiny training child on cores that others use too took 19 s instead of 50. A
# real week's child has its cores to itself and is left to spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
for _variable in ("FLYWHEEL_BASE_MODEL", "FLYWHEEL_FIRST_WEEK", "FLYWHEEL_TIME_ZONE"):
    os.environ.pop(_variable, None)
shutil.copytree(Path(__file__).parent / "packs" / "door", HOME / "workflows" / "door")

import hypothesis
import pytest

import flywheel.demo
from flywheel.chat import Renderer
from flywheel.chat.families import find_family
from flywheel.lake import Lake
from flywheel.training.tiny_tokenizer import train_tokenizer
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack

# An example's time is the machine's affair: a busy one would fail tests of what is right.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

SUPPORT_DESK = Path(flywheel.demo.__file__).parent / "support_desk"


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test's own process draws by lot (audit samples, planted items) is the same in every run.

    A lot with a fifth of its items wrong passes an audit now and then (3 of 72 draws did), and rightly: a test of that kind says
    something only about a known draw. Processes that a test starts draw as production does.
    """
    rng = random.Random(0)
    drawn = SimpleNamespace(token_hex=lambda size: rng.randbytes(size).hex())
    monkeypatch.setattr("flywheel.corrections.batches.secrets", drawn)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="session")
def pack() -> Pack:
    return load_pack(SUPPORT_DESK)


@pytest.fixture(scope="session")
def renderer_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Renderer]:
    """A family's renderer over a small tokenizer that knows the family's tokens."""

    @cache
    def make(family: str) -> Renderer:
        file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
        train_tokenizer(SUPPORT_DESK, find_family(family).special_tokens).save(str(file))
        return Renderer(file, family)

    return make


@pytest.fixture(scope="session")
def renderer(renderer_of: Callable[[str], Renderer]) -> Renderer:
    return renderer_of("chatml_hermes")


@pytest.fixture(scope="session")
def ray() -> Iterator[None]:
    """A Ray of this machine, ended when the tests are; whoever uses it starts it. Skips with the reason, or fails where all services must be there."""
    if find_spec("ray") is None:  # not imported here: how it is started is said to it before
        why = "Ray is not installed: pip install 'flywheel-loop[ray]'"
        pytest.fail(why) if os.environ.get("FLYWHEEL_REQUIRE_SERVICES") == "1" else pytest.skip(why)
    yield
    import ray

    ray.shutdown()
