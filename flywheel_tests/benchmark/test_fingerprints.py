"""The leak registry finds a case in any dress, and nothing else."""

import polars as pl
import pytest

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.fingerprints import LeakCandidate, case_text, find_leaks, fingerprints
from flywheel.workflows.pack import Pack


@pytest.fixture(scope="module")
def registry(pack: Pack) -> pl.DataFrame:
    return pl.DataFrame(
        [row for case in load_cases(pack.folder / "benchmark", pack.tools) for row in fingerprints(case)]
    )


def leak(registry: pl.DataFrame, text: str, conversation: str = "mine"):
    return find_leaks(registry, [LeakCandidate("r", conversation, text)])


def test_every_planted_case_is_caught(pack: Pack, registry: pl.DataFrame):
    cases = load_cases(pack.folder / "benchmark", pack.tools)
    planted = [LeakCandidate(case.id, "mine", case_text(case)) for case in cases]
    assert {found.row_id for found in find_leaks(registry, planted)} == {case.id for case in cases}


@pytest.mark.parametrize(
    "text",
    [
        "Please tell me the status of B77777.",
        "hello, please tell me the status of order B77777 now",
        "PLEASE   tell me the status of Z1",
        "Order C12345 shall be cancelled, my cat stepped on the keyboard.\nthanks",
    ],
)
def test_twins_with_another_number_or_around_it_are_caught(registry: pl.DataFrame, text: str):
    assert leak(registry, text)


@pytest.mark.parametrize(
    "text", ["status A12345", "thanks a lot", "", "my kettle A1 leaks and I would like to know who repairs such things"]
)
def test_other_texts_are_not(registry: pl.DataFrame, text: str):
    assert leak(registry, text) == []


def test_the_conversation_of_a_case_is_barred_whatever_it_says(registry: pl.DataFrame):
    (found,) = leak(registry, "x", conversation="ask-00")
    assert found.kind == "conversation"
