"""A house with an open batch of three items, and the workbench over it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette

from flywheel.corrections.workbench.call import Workbench
from flywheel.corrections.workbench.server import make_app, make_workbench
from flywheel.settings import Settings
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.workbench.browser import Visitor
from flywheel_tests.corrections.workbench.house import make_house


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_house(tmp_path / "home", SUPPORT_DESK)


@pytest.fixture
def bench(settings: Settings) -> Workbench:
    return make_workbench(settings, "support_desk")


@pytest.fixture
def app(bench: Workbench) -> Starlette:
    return make_app(bench)


@pytest.fixture
def visitor(app: Starlette) -> Callable[..., Visitor]:
    return lambda name, password="": Visitor(app, name, password)
