"""Packs load whole or say which file, which line and what to do."""

import json
import shutil
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.workflows.loader import checked_name, find_pack, known_workflows, load_pack
from flywheel_tests.conftest import SUPPORT_DESK


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SUPPORT_DESK, tmp_path / "desk"))


def test_the_shipped_pack_is_what_the_issue_asks_for():
    pack = load_pack(SUPPORT_DESK)
    parameters = json.dumps([tool["function"]["parameters"] for tool in pack.tools])
    assert len(pack.tools) >= 7
    assert {"read_only", "write"} == {tool["x-access"] for tool in pack.tools}
    assert '"enum"' in parameters and '"address"' in parameters
    assert any(
        set(t["function"]["parameters"]["properties"]) - set(t["function"]["parameters"]["required"])
        for t in pack.tools
    )


def test_yaml_errors_name_their_line(folder: Path):
    (folder / "workflow.yaml").write_text("owner: x\n  bad: [\n")
    with pytest.raises(FlywheelError, match=r"workflow.yaml:\d"):
        load_pack(folder)


def test_an_unknown_setting_names_its_line_and_key(folder: Path):
    text = (folder / "workflow.yaml").read_text().replace("qa_mode: three", "qa_mode: four")
    (folder / "workflow.yaml").write_text(text)
    line = next(n for n, content in enumerate(text.splitlines(), 1) if "qa_mode" in content)
    with pytest.raises(FlywheelError, match=f"qa_mode.*workflow.yaml:{line}"):
        load_pack(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tools: tools[0]["function"].pop("parameters"), "parameters must be a JSON Schema"),
        (
            lambda tools: tools[0]["function"]["parameters"]["properties"].update(x={"type": "text"}),
            "invalid JSON Schema",
        ),
        (lambda tools: tools[0].pop("x-access"), "whether it writes"),
        (lambda tools: tools.append(tools[0]), "listed twice"),
        (lambda tools: tools[0]["function"].pop("name"), "no usable name"),
        (lambda tools: tools.clear(), "at least one tool"),
    ],
)
def test_tool_errors_say_what_and_where(folder: Path, change, said: str):
    tools = json.loads((folder / "tools.json").read_text())
    change(tools)
    (folder / "tools.json").write_text(json.dumps(tools, indent=1))
    with pytest.raises(FlywheelError, match=said) as caught:
        load_pack(folder)
    assert "tools.json" in caught.value.where and caught.value.remedy


@pytest.mark.parametrize("name", ["Desk", "1desk", "a-b", "../x", "", "a" * 80, "desk\n"])
def test_names_that_are_no_identifiers_are_refused(name: str):
    with pytest.raises(FlywheelError, match="no identifier"):
        checked_name(name)


def test_a_missing_pack_lists_the_present_ones_and_the_command(folder: Path):
    with pytest.raises(FlywheelError, match=r"found: desk[\s\S]*flywheel init airline"):
        find_pack(folder.parent, "airline")
    assert known_workflows(folder.parent) == ["desk", "support_desk"]


def test_an_environment_that_fails_says_so(folder: Path):
    (folder / "environment.py").write_text("raise RuntimeError('no shop today')")
    with pytest.raises(FlywheelError, match="no shop today"):
        load_pack(folder).environment(0)


def test_routes_that_cannot_be_are_refused(folder: Path):
    text = (folder / "workflow.yaml").read_text()
    (folder / "workflow.yaml").write_text(
        text + "traces:\n  routes:\n    - workflow: other\n      system_contains: shop\n"
    )
    with pytest.raises(FlywheelError, match="no route leads to desk"):
        load_pack(folder)
    (folder / "workflow.yaml").write_text(text + "traces:\n  routes:\n    - workflow: desk\n")
    with pytest.raises(FlywheelError, match="a route needs a condition"):
        load_pack(folder)
