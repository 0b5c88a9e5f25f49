"""A headless chromium with a keyboard that counts, and a workbench in a child process for it to look at."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

NAMED = {"Enter": Keys.ENTER, "Tab": Keys.TAB, "Escape": Keys.ESCAPE, "Down": Keys.ARROW_DOWN}
_QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-device-scale-factor=1")  # fmt: skip


def need_chromium() -> tuple[str, str]:
    """The browser and its driver; skips where they are absent, fails there when services are required."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if found[0] and found[1]:
        return found[0], found[1]
    if os.environ.get("FLYWHEEL_REQUIRE_SERVICES") == "1":
        pytest.fail("chromium and chromedriver are required and not installed")
    pytest.skip("chromium and chromedriver are not installed (Debian: apt-get install chromium chromium-driver)")


@contextmanager
def serving(home: Path, workflow: str, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The workbench of a home in a child process; gives its address and the process."""
    environment = {**os.environ, "FLYWHEEL_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [
        sys.executable,
        "-c",
        "from flywheel.cli import app; app()",
        "workbench",
        "--workflow",
        workflow,
        "--port",
        "0",
        *options,
    ]
    with (home / "workbench.log").open("a") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        address = next(
            (found[0] for line in process.stdout or () if (found := re.search(r"http://127\.0\.0\.1:\d+", line))), None
        )
        assert address, (home / "workbench.log").read_text()
        yield address, process
    finally:
        process.kill()
        process.wait()


class Keyboard:
    """One person's browser: keys only.

    Args:
        pressed: keys pressed since the last `count`; a typed text counts as none, a pick as one.
    """

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver, self.address, self.pressed = driver, address, 0

    def sign_in(self, name: str) -> None:
        self.driver.get(f"{self.address}/sign-in")
        self.wait("#name")
        ActionChains(self.driver).send_keys(name, Keys.ENTER).perform()
        self.until(lambda: "/sign-in" not in self.driver.current_url)

    def press(self, *keys: str) -> None:
        """Press keys one after the other; `Alt+1` and `Ctrl+Enter` are one key press each."""
        for key in keys:
            chain = ActionChains(self.driver)
            if "+" in key and len(key) > 1:
                held, plain = key.split("+")
                modifier = {"Alt": Keys.ALT, "Ctrl": Keys.CONTROL}[held]
                chain.key_down(modifier).send_keys(NAMED.get(plain, plain)).key_up(modifier)
            else:
                chain.send_keys(NAMED.get(key, key))
            chain.perform()
            self.pressed += 1
            self.calm()

    def type(self, text: str) -> None:
        ActionChains(self.driver).send_keys(text).perform()
        time.sleep(0.3)  # the live validation waits for a pause
        self.calm()

    def count(self) -> int:
        pressed, self.pressed = self.pressed, 0
        return pressed

    def calm(self) -> None:
        """Wait until the page asks for nothing."""
        self.until(lambda: self.driver.execute_script("return !document.querySelector('.htmx-request')"))

    def wait(self, selector: str) -> WebElement:
        return WebDriverWait(self.driver, 10).until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))

    def until(self, condition) -> None:
        WebDriverWait(self.driver, 10).until(lambda _: condition())

    def text(self, selector: str = "body") -> str:
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def picture(self, name: str) -> Path:
        folder = Path(os.environ.get("FLYWHEEL_ARTIFACTS") or os.environ["FLYWHEEL_HOME"]) / "workbench-pictures"
        folder.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(folder / f"{name}.png"))
        return folder / f"{name}.png"

    def problems(self) -> list[str]:
        """What the browser complained about: blocked scripts and styles, failed requests but for refusals."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if "responded with a status of 4" not in entry["message"]
        ]


@contextmanager
def keyboard(
    address: str, profile: Path, *, dark: bool = False, width: int = 1920, height: int = 1080
) -> Iterator[Keyboard]:
    """A browser with an empty profile."""
    browser, driver = need_chromium()
    options = Options()
    options.binary_location = browser
    for flag in (*_QUIET, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(driver))
    try:
        made.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
        )
        made.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        yield Keyboard(made, address)
    finally:
        made.quit()
