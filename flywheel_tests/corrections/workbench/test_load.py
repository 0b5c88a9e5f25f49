"""Ten thousand open items, fifty people at once, and a server that is killed: fast, nothing lost, nothing doubled."""

import re
import statistics
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from flywheel.corrections.events import EventStore
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.corrections.workbench.chromium import serving
from flywheel_tests.corrections.workbench.house import make_house, wrong_enum

ITEMS, PEOPLE, EACH = 10_000, 50, 6
_RIGHT = {"at": "4.0.0.cancel_order.form", "s:/reason": "given", "v:/reason": "2", "effort": '{"active_ms": 900}'}


class Annotator:
    """One simulated person; what the server confirmed to them is in `confirmed`, page-to-page seconds in `seconds`."""

    def __init__(self, address: list[str], name: str) -> None:
        self.address, self.name = address, name
        self.http = httpx.Client(timeout=60, headers={"hx-request": "true"})
        self.confirmed: list[str] = []
        self.seconds: list[float] = []
        self.item, self.seen, self.csrf = "", "", ""

    def sign_in(self) -> None:
        page = self.http.get(f"{self.address[0]}/sign-in").text
        csrf = re.search(r'name="csrf" value="(\w+)"', page)
        assert csrf
        self.http.post(f"{self.address[0]}/sign-in", data={"csrf": csrf[1], "name": self.name})

    def take(self) -> None:
        csrf = re.search(r'name="csrf" value="(\w+)"', self.http.get(f"{self.address[0]}/").text)
        assert csrf
        self.csrf = csrf[1]
        place = self.http.post(f"{self.address[0]}/annotate/next", data={"csrf": self.csrf}).headers["hx-redirect"]
        self._see(place, self.http.get(f"{self.address[0]}{place}").text)

    def correct(self) -> None:
        """One correction: mark, mend, submit; the answer is the next item's page."""
        form = {"csrf": self.csrf, "seen": self.seen}
        self.http.post(f"{self.address[0]}/annotate/{self.item}/edit", data={**form, "op": "mark:4"}).raise_for_status()
        started = time.perf_counter()
        answer = self.http.post(
            f"{self.address[0]}/annotate/{self.item}/submit", data={**form, **_RIGHT}
        ).raise_for_status()
        self.seconds.append(time.perf_counter() - started)
        self.confirmed.append(self.item)
        self._see(answer.headers["hx-push-url"], answer.text)

    def work(self, count: int) -> None:
        """Correct so many items; when the server is gone, wait for it and go on from what it remembers."""
        self.sign_in()
        self.take()
        while len(self.confirmed) < count:
            try:
                self.correct()
            except (httpx.TransportError, httpx.HTTPStatusError):
                time.sleep(0.2)
                try:
                    self.take()
                except (httpx.TransportError, KeyError, AssertionError):
                    continue

    def _see(self, place: str, page: str) -> None:
        found = re.search(r'name="seen" value="(\d+)"', page)
        assert found, page[:500]
        self.item, self.seen = place.rsplit("/", 1)[1], found[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_items_fifty_people_and_a_kill(tmp_path: Path):
    home = tmp_path / "home"
    runs = [(wrong_enum(f"R{n}"), 4, f"cluster {n % 40}", "schema_violation") for n in range(ITEMS)]
    settings = make_house(home, SUPPORT_DESK, runs)
    store = EventStore(settings.qa_store("support_desk"))
    address = [""]
    started = time.perf_counter()
    with serving(home, "support_desk") as (address[0], process):
        print(f"\nstarted over {ITEMS:,} items in {time.perf_counter() - started:.1f} s")
        alone = Annotator(address, "alone")
        alone.work(60)
        median = statistics.median(alone.seconds)
        print(
            f"page to page, one person, {ITEMS:,} open items: median {median * 1000:.1f} ms, 95 % {sorted(alone.seconds)[56] * 1000:.1f} ms"
        )
        people = [Annotator(address, f"person{n}") for n in range(PEOPLE)]
        threads = [threading.Thread(target=person.work, args=(EACH,)) for person in people]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        while sum(len(person.confirmed) for person in people) < PEOPLE * EACH // 2:
            time.sleep(0.02)
        process.kill()  # SIGKILL, in the middle of whatever it was doing
        process.wait()
        before = {person.name: list(person.confirmed) for person in people}
        with serving(home, "support_desk") as (again, _):
            address[0] = again
            for thread in threads:
                thread.join(timeout=300)
            assert not any(thread.is_alive() for thread in threads)
            spent = time.perf_counter() - begun
    everybody = [*people, alone]
    events = store.since(0)
    submits = Counter(entry.event.item_id for entry in events if entry.event.kind == "submit")
    claims = Counter(entry.event.item_id for entry in events if entry.event.kind == "claim")
    by_item = {entry.event.item_id: entry.event.actor for entry in events if entry.event.kind == "submit"}
    kept_of_killed = sum(by_item.get(item) == name for name, items in before.items() for item in items)
    together = [second for person in people for second in person.seconds]
    print(f"{PEOPLE} people, {sum(len(p.confirmed) for p in people)} corrections in {spent:.1f} s with a kill -9 and a restart in the middle; page to page"
          f" median {statistics.median(together) * 1000:.0f} ms, 95 % {sorted(together)[int(len(together) * 0.95)] * 1000:.0f} ms")  # fmt: skip
    print(
        f"confirmed before the kill: {sum(map(len, before.values()))}, of them in the log: {kept_of_killed}; events {store.verify_chain():,}, chain whole"
    )
    assert all(by_item.get(item) == person.name for person in everybody for item in person.confirmed), (
        "nothing confirmed is lost"
    )
    assert max(submits.values()) == 1 and max(claims.values()) == 1, "nothing is doubled"
    assert len(submits) >= PEOPLE * EACH + 60 and kept_of_killed == sum(map(len, before.values()))
    assert median < 0.1, f"page to page took {median * 1000:.0f} ms at the median"
