"""The sheet in a real browser: judged by keys alone, saved as the lines that the import takes, inert whatever a run said."""

import json
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from flywheel.benchmark.cases import Case
from flywheel.evaluation.review_sheet import read_sheet, sheet_page
from flywheel.evaluation.review_store import read_review
from flywheel.lake import Lake
from flywheel_tests.corrections.workbench.chromium import _QUIET, need_chromium
from flywheel_tests.evaluation.judged import WEEK, door_pack, evaluated

pytestmark = pytest.mark.slow


def test_a_person_judges_with_the_keyboard_and_saves_what_is_imported(tmp_path: Path):
    browser, driver = need_chromium()
    pack, lake = door_pack(tmp_path, review={"at_least": 4}), Lake(tmp_path / "lake")
    evaluated(lake, pack)
    frozen = lake.read_partition("benchmark", workflow="door")
    cases = {case.id: case for case in map(Case.model_validate_json, frozen["case"])}
    sheet = read_review(lake, pack, WEEK).sample.head(3)
    (tmp_path / "sheet.html").write_text(sheet_page(sheet, cases, pack, WEEK, name="sheet"))
    options = Options()
    options.binary_location = browser
    for flag in (*_QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path)})
    page = webdriver.Chrome(options=options, service=Service(driver))
    try:
        page.get((tmp_path / "sheet.html").as_uri())
        keys = ActionChains(page)
        for text in ("p", "e", "f", "k", "c", "said nothing", Keys.ESCAPE, "u"):
            keys.send_keys(text)
        keys.perform()
        page.refresh()
        assert "2 of 3 judged" in page.find_element(By.ID, "count").text, "kept in the browser"
        assert "3 of 3" in page.find_element(By.ID, "title").text, "goes on at the first that is open"
        page.save_screenshot(str(tmp_path / "sheet.png"))
        ActionChains(page).send_keys("p", "s").perform()
        deadline = time.monotonic() + 10
        while not (tmp_path / "sheet.jsonl").is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        ratings = read_sheet(tmp_path / "sheet.jsonl")
        assert [(one.verdict, one.comment, one.saw_expectation) for one in ratings] == [
            ("pass", "", False), ("unsure", "said nothing", True), ("pass", "", False),
        ]  # fmt: skip
        assert [one.output_id for one in ratings] == sheet["output_id"].to_list() and ratings[0].rated_at
        assert not page.get_log("browser"), "nothing blocked, nothing asked for"
    finally:
        page.quit()
    assert json.loads((tmp_path / "sheet.jsonl").read_text().splitlines()[0])["workflow"] == "door"
