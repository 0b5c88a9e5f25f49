"""Ten synthetic weeks, written once for all tests that only read them."""

import pytest

from flywheel.lake import Lake
from flywheel_tests.report.synthetic import ten_weeks


class Weeks:
    """A lake with ten weeks in it, and their Mondays."""

    def __init__(self, lake: Lake) -> None:
        self.lake, self.mondays = lake, ten_weeks(lake, cases=40)


@pytest.fixture(scope="package")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Weeks:
    return Weeks(Lake(tmp_path_factory.mktemp("weeks") / "lake"))
