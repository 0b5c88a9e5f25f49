"""Servers that somebody else runs: `attach` of `workflow.yaml` (docs/elsewhere.md), and endpoints that are compared with ours."""

from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

_ENDPOINT = "endpoint:"


class Attach(BaseModel):
    """Where the server is, and how things are called there.

    Attributes:
        url: its base URL, as in http://127.0.0.1:8000/v1. A host elsewhere stands under `egress` with the purpose server.
        base: name under which it serves the base model.
        adapters_folder: folder in which the server finds the adapters, for loading them while it runs; without it ours, as on this machine.
    """

    model_config = ConfigDict(extra="forbid")

    url: str = Field(pattern=r"^https?://")
    base: str = Field(default="base", min_length=1)
    adapters_folder: str | None = None


class EndpointSettings(BaseModel):
    """`endpoint` of a configuration, and of `first_incumbent`.

    Attributes:
        url: base URL, as in https://api.example.com/v1.
        model: name of the model there.
        omit: fields of the request that this server refuses, e.g. seed.
        extra: fields it wants besides, e.g. {max_completion_tokens: 512}.
        answers_as: the model that its answers name, where that is neither `model` nor a dated version of it.
    """

    model_config = ConfigDict(extra="forbid")

    url: str
    model: str = Field(min_length=1)
    omit: list[str] = []
    extra: dict[str, Any] = {}
    answers_as: str | None = None

    @property
    def host(self) -> str:
        """The server's name, for people and for results."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def id(self) -> str:
        """What stands for it where an adapter's id would: in results, decisions and the pointer."""
        return f"{_ENDPOINT}{self.model}@{self.host}"

    def asked(self) -> dict[str, Any]:
        """All that decides what it is asked, for hashes; the address is its host alone."""
        return {"host": self.host, **self.model_dump(exclude={"url", "answers_as"})}


class FirstIncumbent(BaseModel):
    """`first_incumbent` of `workflow.yaml`: what answers production today, until a first adapter was released (docs/week-zero.md)."""

    model_config = ConfigDict(extra="forbid")

    endpoint: EndpointSettings

    @field_validator("endpoint")
    @classmethod
    def _without_a_key(cls, endpoint: EndpointSettings) -> EndpointSettings:
        if "@" in urlsplit(endpoint.url).netloc:
            raise ValueError("a password does not stand in the pack: FLYWHEEL_FRONTIER_KEY holds the endpoint's key")
        return endpoint


def is_endpoint(adapter_id: str | None) -> bool:
    """Whether what stands where an adapter's id would is an endpoint."""
    return (adapter_id or "").startswith(_ENDPOINT)


def model_and_host(endpoint_id: str) -> tuple[str, str]:
    """What an endpoint's id says: the model's name there, and the host."""
    model, _, host = endpoint_id.removeprefix(_ENDPOINT).rpartition("@")
    return model, host
