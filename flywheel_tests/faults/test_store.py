"""The QA store killed in the middle of its writes: every confirmed event is there once, no unconfirmed half of one, the chain holds."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flywheel.corrections.events import EventStore
from flywheel_tests.faults.house import ROOT

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
KILLS = 10
WRITER = """
import sys
from pathlib import Path
from flywheel.corrections.events import Event, EventStore
store, first = EventStore(Path(sys.argv[1])), int(sys.argv[2])
batch = store.batch_of("2026-01-05", "door").name
print("began", flush=True)
for number in range(first, 10_000):
    store.append(batch, Event(f"item-{number}", "claim", "ann", {}))
    print(number, flush=True)
"""


def test_confirmed_events_survive_kills_and_nothing_half_is_there(tmp_path: Path):
    file, rng, confirmed = tmp_path / "door.sqlite", random.Random(3), -1
    store = EventStore(file)
    items = [f"item-{number}" for number in range(10_000)]
    batch = store.open_batch(week="2026-01-05", workflow="door", version="1", item_ids=items, qa_mode="three")
    for _ in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(file), str(confirmed + 1)]
        writer = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        assert writer.stdout is not None and writer.stdout.readline() == "began\n"
        time.sleep(rng.uniform(0.05, 0.5))
        os.kill(writer.pid, signal.SIGKILL)
        told = [int(line) for line in writer.stdout.read().split() if line.isdigit()]
        writer.wait()
        confirmed = max([confirmed, *told])
        claimed = [event.event.item_id for event in store.history(batch) if event.event.kind == "claim"]
        # One more may be written than was said: the kill fell between the commit and the word of it.
        assert claimed[: confirmed + 1] == items[: confirmed + 1] and len(claimed) <= confirmed + 2
        assert store.verify_chain() >= len(claimed)
        confirmed = len(claimed) - 1
    assert confirmed > KILLS
