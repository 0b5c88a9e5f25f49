"""The files of a deployment: valid, without a secret, and closed until somebody opens them."""

import json
import re
import tomllib
from pathlib import Path

import dagster
import pytest
import yaml

from flywheel_tests.deploy.compose import DEPLOY, GIVEN, SECRETS, compose, variables

OURS = ("code", "daemon", "webserver", "webserver-view", "workbench")


def test_compose_says_what_a_compose_file_may_say():
    read = pytest.importorskip("compose_spec").PyCompose
    assert read.from_json(json.dumps(compose(GIVEN))).service_names()
    for key, wrong, said in (
        ("restart", "sometimes", "unless-stopped"),
        ("depends_on", 5, "expected"),
        ("comand", [], "comand"),
    ):
        broken = compose(GIVEN)
        broken["services"]["code"][key] = wrong
        with pytest.raises(ValueError, match=said):
            read.from_json(json.dumps(broken))


def test_nothing_starts_without_the_secrets_and_the_names():
    assert {name for name, default in variables().items() if default is None} == {*GIVEN} - {"FLYWHEEL_WORKFLOW"}
    for name in (*SECRETS, "FLYWHEEL_SITE"):
        with pytest.raises(KeyError, match=name):
            compose({**GIVEN, name: ""})


def test_every_variable_is_explained_where_people_fill_it_in_and_no_secret_has_a_value():
    text = (DEPLOY / "env.example").read_text()
    given = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert set(given) <= set(variables())
    assert {name for name, default in variables().items() if default is None} <= set(given)
    assert all(given[name] == "" for name in SECRETS)


def test_only_the_proxy_is_reached_from_outside_and_first_on_this_machine_alone():
    services = compose(GIVEN)["services"]
    assert {name for name, service in services.items() if "ports" in service} == {"proxy"}
    assert services["proxy"]["ports"] == ["127.0.0.1:443:8443"]
    assert {services[name]["network_mode"] for name in ("postgres", "daemon")} == {"none"}
    for name in ("webserver", "webserver-view"):
        assert services[name]["network_mode"] == "service:proxy"
        command = services[name]["command"]
        assert command[command.index("--host") + 1] == "127.0.0.1"
    assert services["workbench"]["network_mode"] == "service:proxy" and "--host" not in services["workbench"]["command"]
    assert "--read-only" in services["webserver-view"]["command"]
    assert "listen_addresses=" in services["postgres"]["command"]


def test_our_containers_have_no_rights_to_lose():
    services = compose(GIVEN)["services"]
    for name in OURS:
        assert services[name]["user"] == "10001:10001" and services[name]["read_only"] is True, name
        assert services[name]["cap_drop"] == ["ALL"] and services[name]["security_opt"] == ["no-new-privileges:true"]
    assert not [s for s in services.values() for v in s["volumes"] if "docker.sock" in v], (
        "it would be root on the host"
    )
    seen = {name: [v.split(":")[1] for v in service["volumes"]] for name, service in services.items()}
    assert {name for name, places in seen.items() if "/var/lib/flywheel" in places} == {"code", "workbench"}, (
        "traces and vault are seen by those who work on them"
    )


def test_the_proxy_alone_keeps_the_capability_that_its_image_cannot_start_without():
    services = compose(GIVEN)["services"]
    assert {name: service["cap_add"] for name, service in services.items() if "cap_add" in service} == {
        "proxy": ["NET_BIND_SERVICE"]
    }
    assert services["proxy"]["image"].startswith("caddy:"), "its binary is marked with cap_net_bind_service=+ep"
    assert services["proxy"]["cap_drop"] == ["ALL"] and services["proxy"]["security_opt"] == ["no-new-privileges:true"]
    assert services["proxy"]["read_only"] is True


def test_no_file_of_the_deployment_holds_a_password():
    values = {}
    for name, service in compose(GIVEN)["services"].items():
        values |= {f"{name} {key}": str(value) for key, value in service["environment"].items()}
    named = {value for key, value in values.items() if re.search("PASSWORD|SECRET|TOKEN|KEY", key)}
    in_urls = set(re.findall(r"://[^:@/]*:([^@]+)@", " ".join(values.values())))
    assert named | in_urls == set(SECRETS.values()), "they come from .env alone"
    texts = [path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*") if path.is_file()]
    assert len(texts) >= 8 and not [
        text for text in texts if re.search(r"\$2[aby]\$\d\d\$\w|BEGIN [A-Z ]*PRIVATE KEY", text)
    ]


def test_dagster_reads_the_instance_file_and_only_the_database_comes_from_outside(monkeypatch: pytest.MonkeyPatch):
    from dagster._core.instance.config import dagster_instance_config

    read, _ = dagster_instance_config(str(DEPLOY))
    assert read["storage"] == {"postgres": {"postgres_url": {"env": "FLYWHEEL_DAGSTER_DATABASE"}}}
    assert read["telemetry"] == {"enabled": False}
    laptop = yaml.safe_load((DEPLOY.parent / "dagster.yaml").read_text())
    for same in ("run_retries", "retention", "nux", "telemetry"):
        assert read[same] == laptop[same]
    assert read["concurrency"]["pools"] == laptop["concurrency"]["pools"]
    for service in OURS:
        address = compose(GIVEN)["services"][service]["environment"]["FLYWHEEL_DAGSTER_DATABASE"]
        assert address.startswith("postgresql+psycopg2://"), "SQLAlchemy 2.1 takes the bare scheme for psycopg 3"


def test_ticks_are_purged_by_the_same_rule_in_both_instances_and_dagster_understands_it():
    from dagster._core.instance.config import dagster_instance_config, get_tick_retention_settings
    from dagster._core.scheduler.instigation import TickStatus

    both = [
        get_tick_retention_settings(
            dagster_instance_config(str(place))[0]["retention"]["sensor"], dict.fromkeys(TickStatus, -1)
        )
        for place in (DEPLOY, DEPLOY.parent)
    ]
    assert both[0] == both[1] and both[0][TickStatus.SKIPPED] == 7, "docs/operations.md says that Dagster does it"


def test_images_take_extras_that_exist_and_dagster_postgres_fits_dagster():
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    wanted = {
        name
        for group in re.findall(r"\.\[([a-z0-9,]+)\]", (DEPLOY / "Dockerfile").read_text())
        for name in group.split(",")
    }
    assert wanted and wanted <= set(project["optional-dependencies"])
    services = compose(GIVEN)["services"]
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", (DEPLOY / "Dockerfile").read_text(), re.M))
    assert {services[name]["build"]["target"] for name in OURS} <= targets
    minor = re.search(r"dagster-postgres==0\.(\d+)\.(\d+)", " ".join(project["optional-dependencies"]["postgres"]))
    assert minor is not None
    mine = dagster.__version__.split(".")
    assert (int(minor[1]) - 16, int(minor[2])) == (int(mine[1]), int(mine[2])), (
        "Dagster's libraries are 16 minors ahead of it"
    )


def test_the_proxy_asks_everybody_for_who_they_are():
    caddy = (DEPLOY / "proxy" / "Caddyfile").read_text()
    for handled in re.findall(r"handle[^{]*\{([^}]*reverse_proxy[^}]*)\}", caddy):
        assert "import engineers" in handled or "import analysts" in handled
    assert Path(DEPLOY / "proxy" / "people").exists() is False, "whom to let in is for the installation to say"


def test_what_an_installation_fills_in_is_neither_committed_nor_built_into_an_image():
    ignored = (DEPLOY.parent / ".gitignore").read_text().splitlines()
    assert {"deploy/.env", "deploy/code.env", "deploy/proxy/people/", "deploy/proxy/tls/"} <= set(ignored)
    built = [line[1:] for line in (DEPLOY.parent / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = {
        name
        for line in (DEPLOY / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY")
        for name in line.split()[1:-1]
    }
    assert copied == set(built), "everything else stays out of the context"
