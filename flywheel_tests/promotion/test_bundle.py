"""The serving bundle: equal inputs give equal bytes, nothing in it knows this machine, and a changed file is found."""

import dataclasses
import hashlib
import subprocess
from pathlib import Path

import pytest

from flywheel.chat.families import FAMILIES
from flywheel.errors import FlywheelError
from flywheel.promotion.bundle import ARGUMENTS, SUMS, Bundle, Contents, bundle_arguments, check_bundle, make_bundle
from flywheel.promotion.releases import Releases
from flywheel_tests.promotion.house import make_adapter, make_house


@pytest.fixture
def acts(tmp_path: Path) -> Releases:
    return make_house(tmp_path / "home")


def pack(acts: Releases, contents: Contents, folder: Path) -> Bundle:
    return make_bundle(acts.settings, acts.pack, acts.base, contents, folder)


def test_equal_inputs_give_equal_bundles_that_name_no_place_and_say_what_is_served(acts: Releases, tmp_path: Path):
    adapter = make_adapter(acts.settings, 1)
    one, two = (pack(acts, Contents(adapter, card="# Card\n"), tmp_path / name) for name in ("one", "two"))
    assert (
        one.sha256
        == two.sha256
        == check_bundle(one.folder)
        == hashlib.sha256((one.folder / SUMS).read_bytes()).hexdigest()
    )
    assert pack(acts, Contents(adapter, card="# Card\n"), tmp_path / "one").sha256 == one.sha256, "twice is once"
    texts = [file.read_text() for file in one.folder.rglob("*") if file.suffix in (".txt", ".md", ".json")]
    assert not any(str(tmp_path) in text or "/root" in text for text in texts)
    arguments = (one.folder / ARGUMENTS).read_text().split()
    assert (
        f"{adapter}={adapter}" in arguments and arguments[:2] == ["--host", "127.0.0.1"] and "--model" not in arguments
    )
    assert acts.base.sha256 in (one.folder / "README.md").read_text()
    assert subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=one.folder, check=False).returncode == 0
    base = pack(acts, Contents("base"), tmp_path / "base")
    assert "--enable-lora" not in (base.folder / ARGUMENTS).read_text() and base.sha256 != one.sha256


def test_a_changed_a_missing_and_an_added_file_are_found(acts: Releases, tmp_path: Path):
    made = pack(acts, Contents(make_adapter(acts.settings, 1)), tmp_path / "bundle")
    template = made.folder / "chat_template.jinja"
    text = template.read_text()
    for damage in (
        lambda: template.write_text(text + " "),
        template.unlink,
        lambda: template.with_name("more.py").touch(),
    ):
        damage()
        with pytest.raises(FlywheelError, match="is not as the bundle was made"):
            check_bundle(made.folder)
        with pytest.raises(FlywheelError, match="is not as the bundle was made"):
            pack(acts, Contents("base"), made.folder)
        template.write_text(text)
    with pytest.raises(FlywheelError, match="no serving bundle"):
        check_bundle(tmp_path)


def test_it_is_refused_where_it_cannot_be_made_and_nothing_is_left(acts: Releases, tmp_path: Path):
    with pytest.raises(FlywheelError, match="is missing"):
        pack(acts, Contents("adapter-gone"), tmp_path / "out" / "bundle")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(FlywheelError, match="holds something else"):
        pack(acts, Contents("base"), tmp_path / "mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_s_arguments_stay_inside_the_bundle(acts: Releases, name: str):
    family = FAMILIES[name]
    for contents in (Contents("adapter-1"), Contents("adapter-1", merged=Path("model")), Contents("base")):
        arguments = bundle_arguments(acts.pack, family, contents, 8)
        assert not [argument for argument in arguments if argument.startswith("/") or argument == "None"]
        assert arguments[arguments.index("--chat-template") + 1] == "chat_template.jinja"
        assert ("tool_parser.py" in arguments) == bool(family.tool_parser_plugin)
        served = arguments[arguments.index("--served-model-name") + 1]
        assert served == ("adapter-1" if contents.merged else "base")
        assert "--kv-cache-memory-bytes" not in arguments, "that fits one machine"


def test_the_parser_of_phi_4_mini_comes_along(acts: Releases, tmp_path: Path):
    settings = acts.pack.settings.model_copy(update={"model_family": "phi4_mini"})
    phi = acts._replace(pack=dataclasses.replace(acts.pack, settings=settings))
    made = pack(phi, Contents("base"), tmp_path / "bundle")
    assert "ToolParserManager" in (made.folder / "tool_parser.py").read_text()
    assert "--tool-parser-plugin\ntool_parser.py\n" in (made.folder / ARGUMENTS).read_text()
