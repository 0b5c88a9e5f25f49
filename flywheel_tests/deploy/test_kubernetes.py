"""Helm values and manifests: what the chart knows, what Kubernetes accepts, and the pod that `learn` gets. No cluster ran them."""

import json
import re
from pathlib import Path
from typing import Any

import dagster
import pytest
import yaml

from flywheel.defs.automation import pod_tags
from flywheel.settings import Settings
from flywheel_tests.deploy.compose import DEPLOY

# Keys that the chart's own schema has (helm/dagster/schema in Dagster's repository), for what we set: a typing error would be ignored.
CHART = {
    "": {"global", "generatePostgresqlPasswordSecret", "generateCeleryConfigSecret", "postgresql", "rabbitmq", "redis", "flower",
         "telemetry", "dagsterWebserver", "ingress", "dagsterDaemon", "concurrency", "runLauncher", "dagster-user-deployments"},
    "global": {"postgresqlSecretName", "dagsterHome", "serviceAccountName", "celeryConfigSecretName", "dagsterInstanceConfigMap"},
    "postgresql": {"postgresqlScheme", "image", "enabled", "postgresqlHost", "postgresqlUsername", "postgresqlPassword",
                   "postgresqlDatabase", "postgresqlParams", "service"},
    "dagsterWebserver": {"enableReadOnly", "replicaCount", "resources", "image", "service", "env", "envSecrets", "pathPrefix", "labels"},
    "dagsterDaemon": {"enabled", "resources", "runMonitoring", "runRetries", "runCoordinator", "sensors", "schedules", "image"},
    "dagsterDaemon.runMonitoring": {"enabled", "startTimeoutSeconds", "cancelTimeoutSeconds", "maxResumeRunAttempts",
                                    "pollIntervalSeconds", "freeSlotsAfterRunEndSeconds"},
    "dagsterDaemon.runRetries": {"enabled", "maxRetries", "retryOnAssetOrOpFailure"},
    "concurrency": {"enabled", "pools", "runs"},
    "concurrency.pools": {"defaultLimit", "granularity", "opGranularityRunBuffer"},
    "concurrency.runs": {"maxConcurrentRuns", "tagConcurrencyLimits"},
    "runLauncher": {"type", "config"},
    "runLauncher.config": {"k8sRunLauncher", "celeryK8sRunLauncher", "customRunLauncher"},
    "dagster-user-deployments": {"enabled", "enableSubchart", "imagePullSecrets", "deployments"},
    "dagster-user-deployments.deployments": {
        "name", "image", "port", "dagsterApiGrpcArgs", "codeServerArgs", "includeConfigInLaunchedRuns", "env", "envConfigMaps", "envSecrets",
        "annotations", "nodeSelector", "affinity", "tolerations", "podSecurityContext", "securityContext", "resources", "livenessProbe",
        "readinessProbe", "startupProbe", "labels", "volumeMounts", "volumes", "schedulerName",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "helm-values.yaml").read_text())


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def test_the_chart_knows_every_value(values: dict[str, Any]):
    for path, known in CHART.items():
        found: Any = values
        for name in path.split(".") if path else ():
            found = found[name]
        for one in found if isinstance(found, list) else [found]:
            assert set(one) <= known, f"{path}: {set(one) - known}"


def test_the_chart_is_the_one_of_the_library_and_holds_no_password(values: dict[str, Any]):
    assert f"--version {dagster.__version__} " in (DEPLOY / "helm-values.yaml").read_text()
    assert "postgresqlPassword" not in values["postgresql"] and values["generatePostgresqlPasswordSecret"] is False
    assert values["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"
    assert values["telemetry"]["enabled"] is values["ingress"]["enabled"] is False
    assert values["dagsterWebserver"]["enableReadOnly"] is True


def test_kubernetes_accepts_the_manifests(manifests: list[dict[str, Any]]):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.34", strict=True)
    broken = json.loads(json.dumps(manifests[0]))
    broken["spec"]["accesModes"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.34", strict=True)


def test_values_and_manifests_speak_of_the_same_things(values: dict[str, Any], manifests: list[dict[str, Any]]):
    code = values["dagster-user-deployments"]["deployments"][0]
    named = {(m["kind"], m["metadata"]["name"]): m for m in manifests}
    claims = {v["persistentVolumeClaim"]["claimName"] for v in code["volumes"] if "persistentVolumeClaim" in v}
    assert claims == {name for kind, name in named if kind == "PersistentVolumeClaim"}
    pods = [m["spec"]["template"]["spec"] for m in manifests if m["kind"] == "Deployment"]
    bench = next(c for pod in pods for c in pod["containers"] if c["name"] == "workbench")
    assert bench["envFrom"] == [{"secretRef": code["envSecrets"][0]}], "the same database and the same bucket"
    lake = [e for e in code["env"] if e["name"] in ("FLYWHEEL_HOME", "FLYWHEEL_LAKE")]
    assert bench["env"] == lake
    version = re.search(r'^version = "(.*)"', (DEPLOY.parent / "pyproject.toml").read_text(), re.M)
    assert version is not None and code["image"]["tag"] == version[1] and bench["image"].endswith(f":{version[1]}")
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    assert {"--tls-certificate", "--tls-key", "--name"} <= set(bench["command"]), "it listens beyond its pod"


def test_the_proxy_alone_keeps_the_capability_that_its_image_cannot_start_without(manifests: list[dict[str, Any]]):
    containers = [
        c for m in manifests if m["kind"] == "Deployment" for c in m["spec"]["template"]["spec"]["containers"]
    ]
    kept = {c["name"]: c["securityContext"]["capabilities"] for c in containers}
    assert kept == {"caddy": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, "workbench": {"drop": ["ALL"]}}
    assert all(c["securityContext"]["allowPrivilegeEscalation"] is False for c in containers)


def test_learn_alone_gets_the_pod_with_the_accelerator(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]):
    assert pod_tags(Settings()) == {}
    env = {e["name"]: e["value"] for e in values["dagster-user-deployments"]["deployments"][0]["env"]}
    monkeypatch.setenv("FLYWHEEL_LEARN_POD", env["FLYWHEEL_LEARN_POD"])
    tags = pod_tags(Settings())
    assert list(tags) == ["dagster-k8s/config"]
    job = dagster.define_asset_job("learn", tags=tags)
    assert (
        json.loads(job.tags["dagster-k8s/config"])["container_config"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    )


@pytest.mark.slow
def test_dagster_makes_that_pod_of_it(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    k8s = pytest.importorskip("dagster_k8s.job")
    env = {e["name"]: e["value"] for e in values["dagster-user-deployments"]["deployments"][0]["env"]}
    monkeypatch.setenv("FLYWHEEL_LEARN_POD", env["FLYWHEEL_LEARN_POD"])
    tags = {name: json.dumps(value) for name, value in pod_tags(Settings()).items()}
    own = k8s.get_user_defined_k8s_config(tags)
    config = k8s.DagsterK8sJobConfig("image", "/opt/dagster")
    pod = k8s.construct_dagster_k8s_job(config, ["dagster", "api", "execute_run"], "run", own).spec.template.spec
    assert pod.containers[0].resources.limits == {"nvidia.com/gpu": "1", "memory": "48Gi"}


def test_the_proxy_of_the_cluster_asks_everybody(tmp_path: Path):
    text = (DEPLOY / "proxy" / "Caddyfile.kubernetes").read_text()
    sites = re.findall(r"^https://\S+ \{\n(.*?)^\}", text, re.M | re.S)
    assert len(sites) == 2 and all("import engineers" in s or "import analysts" in s for s in sites)
