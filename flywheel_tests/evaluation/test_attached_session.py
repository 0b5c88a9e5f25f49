"""Evaluation on a vLLM that somebody else runs: what it proves, what it cannot, and that a server which changes makes the week INVALID."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from starlette.responses import HTMLResponse, JSONResponse, Response

from flywheel.benchmark.cases import Case
from flywheel.chat import Renderer
from flywheel.errors import FlywheelError, Interrupted
from flywheel.evaluation.attached_session import Attached, evaluate_attached
from flywheel.evaluation.runner import Benchmark
from flywheel.evaluation.session import Session, arms_of
from flywheel.privacy.egress import Destination
from flywheel.promotion.evidence import Evidence
from flywheel.promotion.validity import invalidity
from flywheel.serving.attached import AttachedClient
from flywheel.serving.canary import fixed_histories, probes
from flywheel.serving.client import ChatClient
from flywheel.serving.endpoint import NotSent
from flywheel.workflows.pack import Pack
from flywheel.workflows.serving_settings import Attach
from flywheel_tests.serving.fake_vllm import FakeVllm
from flywheel_tests.stand_ins.model import log_probabilities

Run = Callable[..., Session]
HERE = Destination("127.0.0.1", False, ())


@pytest.fixture
def run(tmp_path: Path, door: Pack, door_cases: list[Case], renderer: Renderer) -> Run:
    """A session of candidate `a2` against incumbent `a1` on a few cases; both were trained elsewhere, so PEFT's answers are known."""
    asked = probes(renderer, fixed_histories(door.system), door.tools)

    def peft(served: str) -> list[list[float]]:
        return [log_probabilities(served, [*one.prompt_ids, *one.target_ids])[len(one.prompt_ids) :] for one in asked]

    told = {name: (asked, {"base": peft("base"), name: peft(name)}) for name in ("a1", "a2")}

    def work(
        server: FakeVllm, *, known: Any = told, to: Destination = HERE, key: str | None = None, transport: Any = None
    ) -> Session:
        attach = Attach(url="http://127.0.0.1:8000/v1", base=server.base)
        client = AttachedClient(attach, to, renderer, log=tmp_path / "egress.jsonl", key=key, transport=transport or server.transport())  # fmt: skip
        attached = Attached(client, "/adapters", known)
        benchmark = Benchmark(door_cases[::25], "v1", door, generation_sha256="g")
        return evaluate_attached(benchmark, arms_of("a2", "a1"), attached, renderer, log=tmp_path / "vllm.log")

    return work


class Naming(FakeVllm):
    """Says who answered, as vLLM does: the model asked for, unless `instead` has another for it."""

    def __init__(self, renderer: Renderer, *adapters: str, instead: dict[str, str | None], **more: Any) -> None:
        super().__init__(renderer, *adapters, **more)
        self.instead = instead

    def _chat(self, body: Any) -> Response:
        answer = json.loads(bytes(super()._chat(body).body))
        return JSONResponse(answer | {"model": self.instead.get(body["model"], body["model"])})


def servers(session: Session, arm: str) -> list[dict[str, str]]:
    return [json.loads(text) for text in sorted({row["server"] for row in session.rows if row["arm"] == arm})]


def reasons(session: Session) -> list[str]:
    rows = pl.DataFrame(session.rows, infer_schema_length=None)
    candidate, incumbent, again = (rows.filter(arm=arm) for arm in ("candidate", "incumbent", "incumbent_again"))
    return invalidity(Evidence(candidate, incumbent, again, set()))


def test_a_server_that_offers_everything_is_held_against_all_of_it(run: Run, renderer: Renderer):
    server = FakeVllm(renderer, "a1", "a2", base="their-model")
    session = run(server)
    assert session.prompts_compared >= 2 and [finding.adapter for finding in session.canary] == ["a1", "a2"]
    (told,) = servers(session, "candidate")
    assert (told["vllm"], told["fingerprint"], told["attached"]) == ("0.32.0", "vllm-1", "127.0.0.1:8000")
    assert (
        told["canary"].startswith("a2: changes log-probabilities by 0.500")
        and "canary" in servers(session, "incumbent")[0]
    )
    assert list(session.not_proven) == ["with which arguments it was started, and that nobody else asked it meanwhile"]
    assert told["not_proven"] == "; ".join(session.not_proven)
    assert not any(row["infra_error"] for row in session.rows) and {row["arm"] for row in session.rows} == {"candidate", "incumbent", "incumbent_again"}  # fmt: skip
    assert reasons(session) == []
    assert {body["model"] for _, body in server.asked if "model" in body} == {"their-model", "a1", "a2"}


def test_a_proxy_that_passes_on_nothing_else_leaves_everything_unproven_and_says_so(run: Run, renderer: Renderer):
    bare = ("version", "fingerprint", "tokenize", "token_ids", "log_probabilities", "load")
    session = run(FakeVllm(renderer, "a1", "a2", lacks=bare))
    said = " | ".join(session.not_proven)
    for proof in (
        "which version serves",
        "token by token",
        "adapters are applied",
        "it stayed the same",
        "serves what was trained",
    ):
        assert proof in said, said
    assert session.prompts_compared == 0 and session.canary == [] and reasons(session) == []
    (row, *_) = (row for row in session.rows if row["arm"] == "candidate")
    assert json.loads(row["raw_outputs"])[0].startswith("{") and row["prompt_tokens"] == 7 * row["model_steps"]
    assert json.loads(row["completion_ids"])[0] == [] and json.loads(row["server"])["vllm"] == "unknown"


def test_a_proxys_own_page_is_no_version_and_another_kind_of_server_is_refused_in_words(run: Run, renderer: Renderer):
    class Behind(FakeVllm):
        def _version(self, body: Any) -> Response:
            return HTMLResponse("<html>Welcome</html>")

    class Other(FakeVllm):
        def _models(self, body: Any) -> Response:
            return JSONResponse({"models": ["their-model"]})

    session = run(Behind(renderer, "a1", "a2"))
    assert any("which version serves" in proof for proof in session.not_proven) and reasons(session) == []
    with pytest.raises(Interrupted, match="no list of models but"):
        run(Other(renderer, "a1", "a2"))


@pytest.mark.parametrize("lacks", ["tokenize", "token_ids"])
def test_one_way_to_see_its_tokens_is_enough_and_another_prompt_is_refused(run: Run, renderer: Renderer, lacks: str):
    server = FakeVllm(renderer, "a1", "a2", lacks=(lacks,))
    assert run(server).prompts_compared > 0
    server.spoil_tokens, server.lacks = True, {"token_ids"}
    with pytest.raises(FlywheelError, match="served and trained prompts differ"):
        run(server)


def test_a_server_that_changes_between_two_arms_makes_the_week_invalid(run: Run, renderer: Renderer):
    server, arms = FakeVllm(renderer, "a1", "a2"), []

    def updated(path: str, body: Any) -> None:
        """Somebody updates it while it is looked at before the second arm."""
        arms.append(path)
        if path == "/v1/models" and arms.count("/v1/models") == 4:
            server.version = "0.33.0"

    server.before = updated
    said = reasons(run(server))
    assert said == ["the attached server changed between arms, in vllm: 0.33.0 at the candidate, 0.32.0 at the incumbent, 0.33.0 at the A/A run"]  # fmt: skip


def test_one_that_changes_while_an_arm_runs_is_caught_on_the_last_arm_too(run: Run, renderer: Renderer):
    server = FakeVllm(renderer, "a1", "a2")

    def swapped(path: str, body: Any) -> None:
        if path == "/v1/chat/completions" and body.get("seed") == 1000:  # the A/A run, which comes last
            server.models["a1"] = "/adapters/other"

    server.before = swapped
    session = run(server)
    (said,) = reasons(session)
    assert said == "the attached server changed while the A/A run ran: model a1: /adapters/a1, unknown tokens -> /adapters/other, unknown tokens"  # fmt: skip
    assert [server.get("changed") for server in servers(session, "candidate")] == [None]


def test_adapters_are_loaded_where_that_is_enabled_and_taken_back(run: Run, renderer: Renderer):
    server = FakeVllm(renderer, "a1")
    assert reasons(run(server)) == []
    loaded = [body for path, body in server.asked if path == "/v1/load_lora_adapter"]
    assert loaded == [{"lora_name": "a2", "lora_path": "/adapters/a2"}] and sorted(server.models) == ["a1", "base"]
    with pytest.raises(
        FlywheelError, match="does not serve adapter a2, and it does not load adapters while it runs"
    ) as told:
        run(FakeVllm(renderer, "a1", lacks=("load",)))
    assert "--lora-modules a2=/adapters/a2" in told.value.remedy and "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1" in told.value.remedy  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "said", "remedy"),
    [
        ({"no_op": True}, "accepted adapter a1 and applies nothing", "renames"),
        ({"shift": 0.3}, "differ by 0.300 nats a token on the base model itself", "other weights"),
        ({"longest": 256}, "takes 256 tokens, and the pack says 512", "--max-model-len 512"),
        ({"models": {"a1": "x", "a2": "x"}}, "serves no model 'base'", "attach.base"),
        ({"key": "k"}, "said 401 to /v1/models", "FLYWHEEL_SERVER_KEY"),
    ],
)
def test_a_proof_that_fails_stops_before_the_first_case(
    run: Run, renderer: Renderer, spoil: dict, said: str, remedy: str
):
    server = FakeVllm(renderer, "a1", "a2")
    vars(server).update(spoil)
    with pytest.raises(FlywheelError, match=said) as told:
        run(server)
    assert remedy in told.value.remedy


@pytest.mark.parametrize("instead", [{}, {"a2": None, "their-model": ""}])
def test_answers_under_the_name_asked_for_and_under_none_are_taken(run: Run, renderer: Renderer, instead: dict):
    session = run(Naming(renderer, "a1", "a2", base="their-model", instead=instead))
    assert not any(row["infra_error"] for row in session.rows) and reasons(session) == []


def test_an_adapter_for_which_another_model_answers_has_no_score(run: Run, renderer: Renderer):
    session = run(Naming(renderer, "a1", "a2", instead={"a2": "base"}))
    errors = {
        arm: {row["infra_error"] for row in session.rows if row["arm"] == arm} for arm in ("candidate", "incumbent")
    }
    assert errors == {"candidate": {"OtherModel: asked for a2, and base answered"}, "incumbent": {None}}
    assert not [row for row in session.rows if row["arm"] == "candidate" and row["success"] is not None]
    assert any("asked for a2, and base answered" in reason for reason in reasons(session)), reasons(session)


def test_a_base_model_that_answers_under_another_name_stops_before_the_first_case(run: Run, renderer: Renderer):
    server = Naming(renderer, "a1", "a2", base="second", instead={"second": "first"})
    with pytest.raises(FlywheelError, match="asked for second, and first answered") as told:
        run(server)
    assert "attach.base" in told.value.remedy and not isinstance(told.value, Interrupted)
    assert {body["model"] for path, body in server.asked if path == "/v1/chat/completions"} == {"second"}


def test_the_attached_client_alone_asks_who_answered(renderer: Renderer, tmp_path: Path):
    server = Naming(renderer, "a1", instead={"a1": "a9"})
    messages: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]

    async def ask() -> None:
        http = httpx.AsyncClient(transport=server.transport(), base_url="http://ours")
        async with ChatClient(http, renderer) as ours:
            assert (await ours.step("a1", messages, [], max_tokens=9)).message["role"] == "assistant"
        attach = Attach(url="http://127.0.0.1:8000/v1")
        async with AttachedClient(attach, HERE, renderer, log=tmp_path / "e", transport=server.transport()) as client:
            await client.step("a1", messages, [], max_tokens=9)

    with pytest.raises(httpx.DecodingError, match="asked for a1, and a9 answered"):
        asyncio.run(ask())


def test_without_peft_the_adapters_must_still_change_something(run: Run, renderer: Renderer):
    session = run(FakeVllm(renderer, "a1", "a2"), known={})
    assert session.canary == [] and "that it serves what was trained: neither PEFT" in "; ".join(session.not_proven)
    server = FakeVllm(renderer, "a1", "a2")
    server.no_op = True
    with pytest.raises(FlywheelError, match="applies nothing of it"):
        run(server, known={})


def test_one_that_does_not_answer_may_be_tried_again_and_its_key_goes_with_every_request(run: Run, renderer: Renderer):
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(Interrupted, match="did not answer: ConnectError"):
        run(FakeVllm(renderer), transport=httpx.MockTransport(gone))
    server = FakeVllm(renderer, "a1", "a2")
    server.key = "secret"
    assert reasons(run(server, key="secret")) == []


def test_elsewhere_nothing_personal_is_sent_and_each_send_is_a_line(run: Run, renderer: Renderer, tmp_path: Path):
    server = FakeVllm(renderer, "a1", "a2")
    assert not any(row["infra_error"] for row in run(server, to=Destination("gpu.example.com", True, ("email",))).rows)
    lines = [json.loads(line) for line in (tmp_path / "egress.jsonl").read_text().splitlines()]
    assert len(lines) == sum(bool(body) for _, body in server.asked) and {line["purpose"] for line in lines} == {
        "server"
    }
    assert "Hello" not in (tmp_path / "egress.jsonl").read_text()

    async def ask() -> None:
        attach, to = Attach(url="https://gpu.example.com/v1"), Destination("gpu.example.com", True, ("email",))
        async with AttachedClient(attach, to, renderer, log=tmp_path / "e", transport=server.transport()) as client:
            await client.step("base", [{"role": "user", "content": "I am ann@example.com"}], [], max_tokens=1)

    before = len(server.asked)
    with pytest.raises(NotSent, match="it holds email"):
        asyncio.run(ask())
    assert len(server.asked) == before
