"""Where a server of ours may listen: on this machine, or elsewhere over TLS and for people who said who they are.

Loopback and unix sockets need neither. What cannot ask who somebody is (vLLM) never listens elsewhere; a proxy in front of it does.
"""

import ssl
from pathlib import Path
from typing import NamedTuple

from flywheel.errors import FlywheelError
from flywheel.privacy.egress import is_loopback


class Tls(NamedTuple):
    """The certificate a server shows, with its chain, and the certificate's key; both PEM."""

    certificate: Path
    key: Path


def checked_tls(certificate: Path | None, key: Path | None) -> Tls | None:
    """The pair, None where neither is given; raises FlywheelError when one is missing, or they are no pair."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise FlywheelError("a certificate and its key belong together", where="--tls-certificate, --tls-key",
                            remedy="name both PEM files")  # fmt: skip
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise FlywheelError(
            f"certificate and key cannot be used: {error.strerror or error}", where=f"{certificate}, {key}",
            remedy="name a PEM certificate and the unencrypted PEM key it was made with",
        ) from None  # fmt: skip
    return Tls(certificate, key)


def check_listening(server: str, host: str, *, tls: Tls | None, asks_who: bool, name_people: str) -> None:
    """Raise FlywheelError when others could reach a server without TLS, or without saying who they are.

    Args:
        server: what listens, for the sentence.
        asks_who: whether it asks everybody for name and password.
        name_people: the command after which it does.
    """
    if is_loopback(host):
        return
    if not asks_who:
        raise FlywheelError(f"{server} does not listen on {host} while anybody may sign in by name alone", where="--host",
                            remedy=f"name who may: {name_people}")  # fmt: skip
    if tls is None:
        raise FlywheelError(
            f"{server} does not listen on {host} without TLS: passwords and runs would cross the network in the clear", where="--host",
            remedy="add --tls-certificate FILE --tls-key FILE; or leave --host away and let a proxy with TLS on this machine ask 127.0.0.1",
        )  # fmt: skip
