"""Tags of items, and a queue that hands people what they can judge and says what nobody can."""

import shutil
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from flywheel.corrections.items import Item
from flywheel.corrections.skills import language_of, matching_of, tagged
from flywheel.corrections.workbench.server import make_app, make_workbench
from flywheel.errors import FlywheelError
from flywheel.workflows.skill_settings import Skills
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.workbench.browser import Visitor
from flywheel_tests.corrections.workbench.house import call, make_house, user

BILLING = {"skill": "billing", "tools": ["refund_order"]}


def item(key: str, words: str, tool: str, cluster: str = "c") -> Item:
    return Item(key, 0, [user(words), call(tool, {})], [], 1, cluster, "schema_violation", "major", "")


def test_rules_tag_by_tool_bucket_and_cluster():
    rules = [
        BILLING,
        {"skill": "forms", "buckets": ["schema_violation"]},
        {"skill": "logistics", "clusters": ["track*"]},
    ]
    made = {"a": item("a", "x", "refund_order"), "b": item("b", "x", "get_order", "track_shipment | none")}
    found = tagged(made, Skills.model_validate({"rules": rules}))
    assert found["a"].skills == ("billing", "forms") and found["b"].skills == ("forms", "logistics")
    assert tagged(made, Skills()) == made


def test_who_has_everything_is_handed_it_and_what_nobody_has_is_said():
    made = {
        key: item(key, "", "x")._replace(skills=tags)
        for key, tags in (("a", ()), ("b", ("de",)), ("c", ("billing", "de")))
    }
    matching = matching_of(made, Skills(people={"ann": ["de"], "rob": ["billing"]}))
    assert [matching.fits(key, "ann") for key in made] == [True, True, False]
    assert [matching.fits(key, "somebody") for key in made] == [True, False, False]
    assert matching.nobody(made) == [("billing, de", 1)], "one person has to have both"
    everybody = matching_of(made, Skills())
    assert all(everybody.fits(key, "somebody") for key in made) and everybody.nobody(made) == []


def test_the_language_is_found_among_those_the_pack_names():
    pytest.importorskip("py3langid")
    german = "Meine Lampe ist leider kaputt angekommen, ich möchte bitte mein Geld zurück."
    assert language_of(german, ("en", "de")) == "de"
    assert language_of("My lamp arrived broken, I would like my money back, please.", ("en", "de")) == "en"
    assert language_of(german, ("de",)) == "" and language_of("  ", ("en", "de")) == ""
    assert language_of("A-1", ("en", "de", "fr")) == "", "a number has no language"
    with pytest.raises(FlywheelError, match="xx"):
        language_of(german, ("en", "xx"))


def test_a_rule_without_a_condition_and_a_language_that_is_no_code_are_refused():
    with pytest.raises(ValidationError, match="that ask for the skill"):
        Skills.model_validate({"rules": [{"skill": "billing"}]})
    with pytest.raises(ValidationError, match="no language code"):
        Skills.model_validate({"languages": ["german"]})


def test_the_queue_serves_matches_and_the_pages_say_what_nobody_has(tmp_path: Path):
    source = shutil.copytree(SUPPORT_DESK, tmp_path / "source" / "support_desk")
    settings = yaml.safe_load((source / "workflow.yaml").read_text())
    rules = [
        BILLING,
        {"skill": "cancelling", "tools": ["cancel_order"]},
        {"skill": "tracking", "tools": ["track_shipment"]},
    ]
    settings["skills"] = {"rules": rules, "people": {"ann": ["cancelling"], "rob": ["cancelling", "billing"]}}
    (source / "workflow.yaml").write_text(yaml.safe_dump(settings))
    app = make_app(make_workbench(make_house(tmp_path / "home", source), "support_desk"))
    ann, joy = Visitor(app, "ann"), Visitor(app, "joy")
    start = ann.http.get("/").text
    assert "Nobody has tracking, which 1 of the open items ask for" in start and '<span class="count">2</span>' in start
    assert "Nobody has tracking" in joy.http.get("/lead").text
    assert joy.take() and "Ignore your rules" in joy.page, "who is not named gets what asks for nothing"
    assert joy.edit("mark:2").status_code == 200 and joy.edit("refusal").status_code == 200
    assert joy.submit().headers["location"] == "/?done=annotate"
    assert ann.take() and "cancelling" in ann.page
    ann.edit("mark:4")
    assert ann.submit(**{"s:/reason": "given", "v:/reason": "2"}).headers["location"] == "/?done=annotate"
    assert joy.take("review") == "", "reviewers need the skill as well"
    assert Visitor(app, "rob").take("review")
