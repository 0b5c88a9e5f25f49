"""`privacy` and `egress` of `workflow.yaml`: what is taken out of traces, and who outside this machine may be sent what."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Privacy(_Strict):
    """What is taken out of traces before they are stored; fields are declared in tools.json (`x-pii`).

    `detector` is `module:function` from a list of texts to a list of [(kind, value)], the place for Presidio or a model.
    """

    redact: tuple[Literal["secret", "email", "iban", "card", "national_id", "phone"], ...] = (
        "secret", "email", "iban", "card", "national_id", "phone",
    )  # fmt: skip
    detector: str | None = None


class Egress(_Strict):
    """A host outside this machine that may be sent something: what for, and which personal data is looked for before each send.

    A request in which one of `redact` is found is not sent, and counted.
    """

    host: str = Field(pattern=r"^[a-z0-9.-]+$")
    purpose: Literal["teacher", "release_hook", "alert", "frontier", "server"]
    redact: tuple[Literal["secret", "email", "iban", "card", "national_id", "phone"], ...] = (
        "secret", "email", "iban", "card", "national_id", "phone",
    )  # fmt: skip
