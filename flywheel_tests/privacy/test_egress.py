"""What may leave this machine, and to whom: listed hosts, by TLS, without personal data."""

from pathlib import Path

import pytest

from flywheel.datasets.endpoint import Endpoint, NoStep, Sampling
from flywheel.errors import FlywheelError
from flywheel.privacy.egress import destination
from flywheel.privacy.redaction import kinds_in
from flywheel.workflows.pack import Egress


def test_only_a_listed_host_is_asked_by_tls_and_never_with_personal_data(tmp_path: Path):
    allowed = [Egress(host="api.example.org", purpose="teacher")]
    assert not destination("http://localhost:8000/v1", [], "teacher", where="x").leaves
    for url in (
        "https://other.example.org/v1",
        "http://api.example.org/v1",
        "ftp://api.example.org",
        "https://127.0.0.1.example.org/v1",
    ):
        with pytest.raises(FlywheelError):
            destination(url, allowed, "teacher", where="--endpoint")
    with pytest.raises(FlywheelError, match="does not list it"):
        destination("https://api.example.org/v1", [], "teacher", where="--endpoint")
    to = destination("https://api.example.org/v1", allowed, "teacher", where="--endpoint")
    assert to.leaves and to.held_back({"messages": [{"content": "I am mia@acme.org"}]}) == ["email"]
    assert to.held_back({"messages": [{"content": "order R4821"}]}) == [] and kinds_in("+44 20 7946 0958") == ["phone"]
    with (
        Endpoint("https://api.example.org/v1", "m", to, Sampling(), log=tmp_path / "log") as asked,
        pytest.raises(NoStep, match="personal_data"),
    ):
        asked.step([{"role": "user", "content": "I am mia@acme.org"}], [])
    assert not (tmp_path / "log").exists(), "it was never sent"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:80o0/v1", "http://127.0.0.1:99999/v1", "http://[::1/v1", "http://local host/v1", "http:///v1", "here"]
)  # fmt: skip
def test_an_address_that_no_client_can_read_is_refused_here_and_not_repeated(url: str):
    with pytest.raises(FlywheelError, match="that is no address of a server") as told:
        destination(url + "/secret-token", [], "server", where="workflow.yaml: attach")
    assert "secret-token" not in str(told.value)
