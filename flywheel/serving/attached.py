"""A vLLM that runs already, at an address: what it says of itself, what it can be asked, and the client that asks it.

A server of ours is known by how it was started. Of this one only its answers are known, so each proof that evaluation makes of ours is
tried, and what cannot be tried is named (`Offers.missing`). It may have a proxy before it that passes on `/v1` and nothing else.
A host elsewhere gets no request in which personal data is found, and each send is logged by counts and hash.
"""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from flywheel.chat.render import Message, Renderer
from flywheel.errors import FlywheelError
from flywheel.privacy.egress import Destination, log_send
from flywheel.serving.client import ChatClient
from flywheel.serving.endpoint import NotSent
from flywheel.serving.vllm_server import BASE
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.serving_settings import Attach

PURPOSE = "server"
# Not offered: asked of somebody who may not, of a path that a proxy does not pass on, or of a server that lacks it.
_NOT_OFFERED = (400, 401, 403, 404, 405, 422, 501)
# A server started without `--generation-config vllm` has the model's own defaults for what a request leaves out.
_NO_DEFAULTS = {"top_k": 0, "min_p": 0, "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}
_HELLO: list[Message] = [{"role": "user", "content": "Hello."}]


class Seen(NamedTuple):
    """What a server says of itself: equal twice means the same server, as far as it says.

    Attributes:
        version: vLLM's; None where it is not told.
        fingerprint: of its configuration, as its answers carry it; None where they do not.
        models: served name -> where its weights are from, there, and the longest prompt; of the names asked about.
    """

    version: str | None
    fingerprint: str | None
    models: Mapping[str, str]

    def described(self) -> dict[str, str]:
        """The same for the `server` column of results."""
        told = {"vllm": self.version or "unknown", "fingerprint": self.fingerprint or "unknown"}
        return told | {"models": json.dumps(dict(sorted(self.models.items())))}

    def changes(self, later: "Seen") -> list[str]:
        """In what a later look differs, one sentence each."""
        said = [
            f"{name} {before or 'unknown'} -> {after or 'unknown'}"
            for name, before, after in (("version", self.version, later.version), ("fingerprint", self.fingerprint, later.fingerprint))
            if before != after
        ]  # fmt: skip
        names = sorted({*self.models, *later.models})
        return said + [
            f"model {name}: {self.models.get(name, 'not served')} -> {later.models.get(name, 'not served')}"
            for name in names if self.models.get(name) != later.models.get(name)
        ]  # fmt: skip


class Offers(NamedTuple):
    """Which proofs a server allows: its version, prompts as tokens, token ids of answers, log-probabilities of a prompt."""

    version: bool
    tokenize: bool
    token_ids: bool
    log_probabilities: bool

    def missing(self) -> list[str]:
        """What cannot be proven for want of them."""
        said = {
            "which version serves: /version is not offered": self.version,
            "that its prompts are those of training, token by token: neither /tokenize nor token ids are offered": self.tokenize or self.token_ids,
            "that the adapters are applied: no log-probabilities of prompts are offered": self.log_probabilities,
        }  # fmt: skip
        return [sentence for sentence, offered in said.items() if not offered]


class OtherModel(httpx.DecodingError):
    """An answer that names another model than the one asked for; for the result a case that could not be run."""


class AttachedClient(ChatClient):
    """Asks the attached server by the names we know: `base` and adapter ids.

    Args:
        to: the host, as `privacy.egress` allowed it; log: the log of sends.
        key: sent as a bearer token where there is one, and nowhere written.
        transport: stands for the network, in tests.
    """

    def __init__(
        self, attach: Attach, to: Destination, renderer: Renderer, *, log: Path, key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None, timeout_seconds: float = 300,
    ) -> None:  # fmt: skip
        inner = transport or httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=64, keepalive_expiry=2))
        headers = {"authorization": f"Bearer {key}"} if key else {}
        guarded = _Guarded(inner, to, log)
        root = attach.url.rstrip("/").removesuffix("/v1")
        http = httpx.AsyncClient(transport=guarded, base_url=root, headers=headers, timeout=timeout_seconds, trust_env=False)  # fmt: skip
        super().__init__(http, renderer, names={BASE: attach.base})
        self.sampling = _NO_DEFAULTS
        self.host = urlsplit(attach.url).netloc.rpartition("@")[2]
        self._fingerprint: str | None = None

    def _check_model(self, answer: Any, asked: str) -> None:
        """Raise OtherModel where an answer names another one; one that names none is accepted."""
        named = answer.get("model")
        if isinstance(named, str) and named and named != asked:
            raise OtherModel(f"asked for {asked}, and {named[:100]} answered")

    async def look(self, names: Collection[str]) -> Seen:
        """What the server says of itself and of these names now; raises httpx.HTTPError where it does not answer."""
        listed = await self._http.get("/v1/models")
        listed.raise_for_status()
        known = {self.name_there(name): name for name in names}
        try:
            models = {
                known[one["id"]]: f"{one.get('root') or 'unknown'}, {one.get('max_model_len') or 'unknown'} tokens"
                for one in _json(listed)["data"] if one["id"] in known
            }  # fmt: skip
        except (LookupError, TypeError, AttributeError):
            raise httpx.DecodingError(f"no list of models but {listed.text[:200]!r}") from None
        version = await self._http.get("/version")
        try:
            told = _json(version).get("version") if version.status_code == httpx.codes.OK else None
        except httpx.DecodingError:
            told = None  # a proxy's own page: it passes on /v1 and answers the rest itself
        fingerprint = await self._asked_for_fingerprint() if BASE in models else None
        return Seen(str(told) if told else None, fingerprint, models)

    async def _asked_for_fingerprint(self) -> str | None:
        body = {"model": self.name_there(BASE), "messages": _HELLO, "max_tokens": 1, "temperature": 0}
        answer = await self._http.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
        found = _json(answer).get("system_fingerprint")
        return str(found) if found else None

    async def offers(self, seen: Seen) -> Offers:
        """Try each proof once, on a request that says nothing; raises FlywheelError where another model than the base answers."""
        tokenize = await _offered(lambda: self.tokenize(BASE, _HELLO, []))
        try:
            token_ids = await _offered(lambda: self.step(BASE, _HELLO, [], max_tokens=1))
        except OtherModel as other:
            raise FlywheelError(
                f"the attached server answers as another model: {other}", where=self.host,
                remedy="name the base model in workflow.yaml, attach.base, as its answers do: of several --served-model-name vLLM answers under the first",
            ) from None  # fmt: skip
        self.token_ids = token_ids
        told = await _offered(lambda: self.log_probabilities(BASE, [0], [0]))
        return Offers(seen.version is not None, tokenize, token_ids, told)

    async def load(self, name: str, path: str) -> None:
        """Have the server load an adapter while it runs; raises FlywheelError that says how to serve it where it will not."""
        answer = await self._http.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path})
        if answer.is_success:
            return
        closed = answer.status_code in (401, 403, 404, 405)
        why = (
            "it does not load adapters while it runs"
            if closed
            else f"it said {answer.status_code}: {answer.text[:200]}"
        )
        raise FlywheelError(
            f"the attached server does not serve adapter {name}, and {why}", where=self.host,
            remedy=f"start it with --enable-lora --lora-modules {name}={path} (the folder as that machine sees it: attach.adapters_folder); or, where "
            "nobody else reaches it, with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1",
        )  # fmt: skip

    async def unload(self, name: str) -> None:
        """Take back an adapter that `load` loaded; a server that will not keeps it."""
        try:
            await self._http.post("/v1/unload_lora_adapter", json={"lora_name": name})
        except httpx.HTTPError:
            pass


class _Guarded(httpx.AsyncBaseTransport):
    """Sends nothing elsewhere in which personal data is found, and logs what it sends there."""

    def __init__(self, inner: httpx.AsyncBaseTransport, to: Destination, log: Path) -> None:
        self._inner, self._to, self._log = inner, to, log

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, or raise NotSent."""
        content = await request.aread()
        if not self._to.leaves or not content:
            return await self._inner.handle_async_request(request)
        body = json.loads(content)
        if kinds := self._to.held_back(body):
            raise NotSent(f"not sent: it holds {', '.join(kinds)}")
        said = "no answer"
        try:
            answer = await self._inner.handle_async_request(request)
            said = str(answer.status_code)
            return answer
        finally:
            log_send(self._log, self._to, purpose=PURPOSE, messages=len(body.get("messages", [])), size=len(content),
                     sha256=sha256_of(body), answer=said)  # fmt: skip

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def _offered(ask: Callable[[], Any]) -> bool:
    """Whether a request is answered as vLLM answers it; raises httpx.HTTPError where the server is not well."""
    try:
        await ask()
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in _NOT_OFFERED:
            raise
        return False
    except OtherModel:
        raise
    except (httpx.DecodingError, ValueError, LookupError, TypeError, AttributeError):
        return False
    return True


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
        if isinstance(found, dict):
            return found
    except ValueError:
        pass
    kind = answer.headers.get("content-type", "unnamed content")
    raise httpx.DecodingError(f"no JSON object but {kind}: {answer.text[:200]!r}")
