"""What follows a move: the hook is told once, told again after a failure, and never undoes the move; the card says what is known."""

import dataclasses
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from flywheel.promotion.announce import announce
from flywheel.promotion.bundle import check_bundle
from flywheel.promotion.model_card import model_card
from flywheel.promotion.pointer import serving
from flywheel.promotion.releases import Releases
from flywheel.workflows.pack import Egress, Hook
from flywheel_tests.promotion.house import WEEKS, blank, decide, make_adapter, make_house


@pytest.fixture
def acts(tmp_path: Path) -> Releases:
    return make_house(tmp_path)


def with_hooks(acts: Releases, **changed: object) -> Releases:
    settings = acts.pack.settings.model_copy(update=changed)
    return acts._replace(pack=dataclasses.replace(acts.pack, settings=settings))


def told(acts: Releases) -> tuple[str | None, bool | None]:
    return announce(acts.lake, acts.settings, acts.pack, acts.base)[1:]


def attempts(acts: Releases) -> list[dict]:
    return acts.lake.read_weeks("release_hooks", workflow="door").sort("at").to_dicts()


def test_a_command_gets_the_move_as_json_once(acts: Releases, tmp_path: Path):
    heard = tmp_path / "heard.jsonl"
    hook = Hook(command=["sh", "-c", f"cat >> {heard}; echo deployed"])
    acts = with_hooks(acts, on_promote=hook, on_rollback=hook)
    assert told(acts) == (None, None), "nothing moved"
    adapter = make_adapter(acts.settings, 1)
    decide(acts, WEEKS[0], adapter, automatic=True)
    said, done = told(acts)
    assert done and said and "exit code 0: deployed" in said and told(acts) == (None, None), "told once"
    acts.roll_back(by="Dana", reason="refunds fail")
    assert told(acts)[1]
    first, second = (json.loads(line) for line in heard.read_text().splitlines())
    assert (first["event"], first["adapter_id"], first["week"], first["verdict"]) == (
        "promote",
        adapter,
        WEEKS[0],
        "PROMOTE",
    )
    assert (second["event"], second["adapter_id"], second["by"], second["reason"]) == (
        "rollback",
        "base",
        "Dana",
        "refunds fail",
    )
    assert check_bundle(Path(first["bundle_path"])) == first["bundle_sha256"] != second["bundle_sha256"]
    assert [row["succeeded"] for row in attempts(acts)] == [True, True]


@pytest.mark.parametrize(("command", "said"), [
    (["sh", "-c", "echo no route; exit 3"], "exit code 3: no route"), (["no-such-program"], "could not be started"),
    (["sleep", "30"], "stopped after 0.3 s"),
])  # fmt: skip
def test_a_hook_that_fails_is_reported_tried_again_and_undoes_nothing(acts: Releases, command: list[str], said: str):
    acts = with_hooks(acts, on_promote=Hook(command=command, seconds=0.3))
    decide(acts, WEEKS[0], make_adapter(acts.settings, 1), automatic=True)
    answer, done = told(acts)
    assert done is False and answer and said in answer and "run the same command again" in answer
    assert serving(acts.log()) != "base"
    mended = with_hooks(acts, on_promote=Hook(command=["true"]))
    assert told(mended)[1] is True and [row["attempt"] for row in attempts(acts)] == [1, 2]


def test_what_a_hook_leaves_running_holds_nobody_up(acts: Releases):
    acts = with_hooks(acts, on_promote=Hook(command=["sh", "-c", "sleep 20 & echo started"], seconds=10))
    decide(acts, WEEKS[0], make_adapter(acts.settings, 1), automatic=True)
    assert told(acts)[1] and attempts(acts)[0]["seconds"] < 5


def test_nobody_is_told_of_an_adapter_that_cannot_be_packed(acts: Releases):
    acts = with_hooks(acts, on_promote=Hook(command=["true"]))
    adapter = make_adapter(acts.settings, 1)
    decide(acts, WEEKS[0], adapter, automatic=True)
    (acts.settings.checkpoints("door") / adapter / "manifest.json").unlink()
    answer, done = told(acts)
    assert done is False and answer and "there is no bundle" in answer and attempts(acts)[0]["bundle_sha256"] is None


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict], list[int]]]:
    """A server on loopback: what it heard, and the status it answers with next."""
    heard: list[dict] = []
    status = [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status[0])
            self.send_header("location", "http://192.0.2.1/")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", heard, status
    server.shutdown()
    server.server_close()


def test_a_webhook_is_posted_under_the_rules_of_egress(acts: Releases, webhook: tuple[str, list[dict], list[int]]):
    url, heard, status = webhook
    decide(acts, WEEKS[0], make_adapter(acts.settings, 1), automatic=True)
    for code, ok in ((302, False), (500, False), (204, True)):
        status[0] = code
        answer, done = told(with_hooks(acts, on_promote=Hook(url=url)))
        assert done is ok and answer and f"HTTP {code}" in answer
    assert len(heard) == 3 and "bundle_path" not in heard[0] and heard[0]["bundle_sha256"]
    assert acts.settings.egress_log("door").read_text().count('"release_hook"') == 3
    acts.roll_back(by="Dana", reason="write to ann@example.com")
    answer, _ = told(with_hooks(acts, on_rollback=Hook(url="https://hooks.example.com/x")))
    assert answer and "does not list it" in answer
    listed = [Egress(host="hooks.example.com", purpose="release_hook")]
    answer, _ = told(with_hooks(acts, on_rollback=Hook(url="https://hooks.example.com/x"), egress=listed))
    assert answer and "not sent: it holds email" in answer
    answer, _ = told(with_hooks(acts, on_rollback=Hook(url="http://127.0.0.1:9/")))
    assert answer and "unreachable" in answer


def test_a_hook_is_either_a_command_or_a_url():
    for wrong in ({}, {"command": ["true"], "url": "http://127.0.0.1/"}):
        with pytest.raises(ValidationError, match="either a command or a url"):
            Hook.model_validate(wrong)


def test_the_card_says_what_is_known_and_what_is_not(acts: Releases):
    adapter = make_adapter(acts.settings, 1)
    decide(acts, WEEKS[0], adapter, verdict="REJECT")
    rows = [blank("sft_dataset", row_id=str(n), source="correction", source_id=str(n), from_week=WEEKS[0], qa_mode="two",
                  annotator_kind=("human", "simulated")[n == 0]) for n in range(4)]  # fmt: skip
    acts.lake.replace_partition("sft_dataset", rows, workflow="door", week=WEEKS[0])
    card = model_card(acts.lake, acts.pack, acts.base, adapter)
    assert card and "4 supervised rows and 0 preference pairs; 4 corrections" in card and "two 4 of 4" in card
    assert "**REJECT**" in card and "- because" in card and "1 of 4 training rows are simulated" in card
    assert "not known" in card and "No comparison with what served before" in card and "not measured" in card
    acts.override(adapter, by="Eve", reason="a demonstration")
    told(acts)
    beside = (acts.settings.checkpoints("door") / f"{adapter}.md").read_text()
    assert "override by Eve" in beside and "a demonstration" in beside
    assert (
        model_card(acts.lake, acts.pack, acts.base, adapter, with_log=False)
        == model_card(acts.lake, acts.pack, acts.base, adapter, with_log=False)
        != beside
    )
    assert model_card(acts.lake, acts.pack, acts.base, "base") is None


def test_the_card_counts_what_it_learned_from_and_names_the_interval_s_level(acts: Releases):
    adapter = make_adapter(acts.settings, 1)
    decide(acts, WEEKS[0], adapter)
    rows = [blank("sft_dataset", row_id=str(n), source="correction", source_id=str(n), annotator_kind="simulated") for n in range(4)]  # fmt: skip
    acts.lake.replace_partition("sft_dataset", rows, workflow="door", week=WEEKS[0])
    read = acts.lake.lineage("sft_dataset", workflow="door", week=WEEKS[0])
    assert read
    trained = [blank("checkpoint", adapter_id=adapter)]
    inputs = {f"sft_dataset/{WEEKS[0]}": read.version}
    acts.lake.replace_partition("checkpoint", trained, workflow="door", week=WEEKS[0], inputs=inputs)
    before = model_card(acts.lake, acts.pack, acts.base, adapter, with_log=False)
    acts.lake.replace_partition(
        "sft_dataset", rows[:1], workflow="door", week=WEEKS[0]
    )  # built again after a withdrawal
    after = model_card(acts.lake, acts.pack, acts.base, adapter, with_log=False)
    assert before and after and "4 supervised rows" in after and "4 of 4 training rows are simulated" in after
    assert "95 % interval not known to not known" in after and "one-sided" not in after
