"""The Kubernetes manifests fit the API, each other, the settings and the image."""

import os
import signal
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

from app import __version__
from app.settings import load as load_settings
from tests.deploy.composed import DEPLOY
from tests.deploy.dockerfile import ROOT, stages
from tests.deploy.free import free_port
from tests.deploy.manifests import (
    FOLDERS,
    KUSTOMIZATION,
    containers,
    load,
    named,
    of_kind,
    pods,
    rendered,
    secrets,
)
from tests.serving import until

# Native sidecars and sleep as a hook are on without a switch since 1.30.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
KINDS = {
    "base": {"ServiceAccount", "ConfigMap", "Service", "PersistentVolumeClaim", "Deployment", "NetworkPolicy"},
    "overlays/scale": {
        "ServiceAccount", "ConfigMap", "Service", "Deployment", "NetworkPolicy", "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    },
    "sidecar": {"ServiceAccount", "ConfigMap", "Deployment"},
}  # fmt: skip
each_folder = pytest.mark.parametrize("folder", FOLDERS)
IMAGE = stages((ROOT / "Dockerfile").read_text("utf-8"))[-1]


def given(folder, container):
    """The environment that a container gets."""
    maps = {one["metadata"]["name"]: one["data"] for one in of_kind(rendered(folder), "ConfigMap")}
    hidden = {one["metadata"]["name"]: one["stringData"] for one in secrets(folder)}
    environ = {}
    for source in container.get("envFrom", []):
        environ |= (
            maps[source["configMapRef"]["name"]] if "configMapRef" in source else hidden[source["secretRef"]["name"]]
        )
    return environ | {one["name"]: one["value"] for one in container.get("env", [])}


def proxies(folder):
    return [
        (pod, container)
        for pod in pods(rendered(folder))
        for container in containers(pod)
        if container["name"] == "flarelay"
    ]


@each_folder
def test_kustomize_makes_what_is_expected(folder):
    assert {manifest["kind"] for manifest in rendered(folder)} == KINDS[folder]
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in rendered(folder)]
    assert len(names) == len(set(names))


@each_folder
@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_the_schema(folder, version):
    for manifest in [*rendered(folder), *secrets(folder)]:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_would_find_a_slip():
    manifest = load(FOLDERS["base"] / "deployment.yaml")
    manifest["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_used(folder):
    made = load(FOLDERS[folder] / KUSTOMIZATION)
    listed = {
        KUSTOMIZATION,
        *made["resources"],
        *(patch["path"] for patch in made.get("patches", []) if "path" in patch),
    }
    listed |= {name for one in made.get("configMapGenerator", []) for name in one["envs"]}
    present = {path.name for path in FOLDERS[folder].iterdir()}
    assert present - {"secret.example.yaml"} == {name for name in listed if not name.startswith("..")}


@each_folder
def test_names_that_are_referred_to_exist(folder):
    manifests = rendered(folder)
    hidden = {one["metadata"]["name"] for one in secrets(folder)}
    for pod in pods(manifests):
        spec = pod["spec"]
        assert spec["serviceAccountName"] in named(manifests, "ServiceAccount")
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in named(manifests, "PersistentVolumeClaim")
        for container in containers(pod):
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    assert source["configMapRef"]["name"] in named(manifests, "ConfigMap")
                else:
                    assert source["secretRef"]["name"] in hidden
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= set(volumes)
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if "httpGet" in container.get(probe, {}):
                    assert container[probe]["httpGet"]["port"] in ports
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert target["name"] in named(manifests, target["kind"])
        # What percentages are of.
        assert all(
            "cpu" in container["resources"]["requests"] for pod in pods(manifests) for container in containers(pod)
        )


@each_folder
def test_selectors_find_the_pods(folder):
    manifests = rendered(folder)
    labels = [pod["metadata"]["labels"] for pod in pods(manifests)]
    selectors = [one["spec"]["selector"]["matchLabels"] for one in of_kind(manifests, "Deployment")]
    selectors += [one["spec"]["selector"] for one in of_kind(manifests, "Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind(manifests, "PodDisruptionBudget")]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in of_kind(manifests, "NetworkPolicy")]
    for pod in pods(manifests):
        spread = pod["spec"].get("topologySpreadConstraints", [])
        selectors += [one["labelSelector"]["matchLabels"] for one in spread]
    for selector in selectors:
        assert any(selector.items() <= found.items() for found in labels), selector
    ports = {port["name"] for pod in pods(manifests) for one in containers(pod) for port in one.get("ports", [])}
    for service in of_kind(manifests, "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for policy in of_kind(manifests, "NetworkPolicy"):
        wanted = [port["port"] for rule in policy["spec"].get("ingress", []) for port in rule["ports"]]
        assert set(wanted) <= ports


@each_folder
def test_the_settings_can_be_used(folder):
    for _, container in proxies(folder):
        environ = IMAGE.pairs("ENV") | given(folder, container)
        settings = load_settings({}, environ)
        assert settings.offline == (folder == "sidecar")
        if port := [port["containerPort"] for port in container.get("ports", [])]:
            assert port == [settings.port]
            assert settings.host == "0.0.0.0"
            assert settings.asks_for_keys
        if folder == "overlays/scale":
            assert settings.redis_url
            assert settings.store_url.startswith("postgresql://")


@each_folder
def test_there_is_time_to_end(folder):
    for pod, container in proxies(folder):
        settings = load_settings({}, IMAGE.pairs("ENV") | given(folder, container))
        pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        probe = container["readinessProbe"]
        assert pause >= 5
        # Nobody is told to go on: readiness need not fail first, because a pod that ends is taken out at once.
        assert pod["spec"]["terminationGracePeriodSeconds"] >= pause + settings.drain_seconds + 15
        assert probe["periodSeconds"] * probe["failureThreshold"] <= 30


@each_folder
def test_pods_fit_the_restricted_standard(folder):
    user, group = map(int, IMAGE.last("USER").rest.split(":"))
    for pod in pods(rendered(folder)):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        whole = spec["securityContext"]
        assert (whole["runAsNonRoot"], whole["runAsUser"], whole["runAsGroup"]) == (True, user, group)
        assert whole["seccompProfile"]["type"] == "RuntimeDefault"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= {
            "emptyDir",
            "persistentVolumeClaim",
        }
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert set(container["resources"]["limits"]) == {"memory"}
            # No registry is written down, and no version that moves.
            assert container["image"] == f"flarelay:{__version__}"
    for account in of_kind(rendered(folder), "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_the_sidecar_is_native():
    ((pod, sidecar),) = proxies("sidecar")
    assert sidecar in pod["spec"]["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(sidecar)
    (app,) = pod["spec"]["containers"]
    environ = {one["name"]: one["value"] for one in app["env"]}
    assert environ["OPENAI_BASE_URL"] == "http://localhost:8484/v1"
    assert given("sidecar", sidecar)["FLARELAY_HOST"] == "127.0.0.1"
    health = IMAGE.last("HEALTHCHECK").rest.partition("CMD ")[2]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert sidecar[probe]["exec"]["command"][:4] == yaml.safe_load(health)


def test_scale_grows_and_shrinks_one_by_one():
    manifests = rendered("overlays/scale")
    (deployment,) = of_kind(manifests, "Deployment")
    (scaler,) = of_kind(manifests, "HorizontalPodAutoscaler")
    (budget,) = of_kind(manifests, "PodDisruptionBudget")
    # A number of its own would undo the autoscaler's with every rollout.
    assert "replicas" not in deployment["spec"]
    assert scaler["spec"]["minReplicas"] == 3 > budget["spec"]["minAvailable"]
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    rules = [rule for policy in of_kind(manifests, "NetworkPolicy") for rule in policy["spec"]["egress"]]
    assert {port["port"] for rule in rules for port in rule["ports"]} == {53, 443, 5432, 6379}


def test_the_sidecar_works_as_it_is_written(tmp_path):
    """Its two containers as processes: the proxy with its settings and probes, then the app beside it."""
    ((pod, sidecar),) = proxies("sidecar")
    port = str(free_port())
    environ = {"PATH": os.environ["PATH"], "FLARELAY_DATA_DIR": str(tmp_path), "FLARELAY_PORT": port}
    settings = given("sidecar", sidecar)
    health = [sys.executable, "-I", "-S", str(DEPLOY / "health.py")]
    proxy = subprocess.Popen(
        [sys.executable, "-m", "app", *sidecar["args"]],
        cwd=ROOT,
        env={**settings, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:

        def is_content(probe):
            command = [*health, *sidecar[probe]["exec"]["command"][4:]]
            done = subprocess.run(command, env={**settings, **environ}, check=False, stderr=subprocess.DEVNULL)
            return done.returncode == 0

        until(lambda: is_content("startupProbe"), 30)
        assert is_content("readinessProbe")
        assert is_content("livenessProbe")
        (app,) = pod["spec"]["containers"]
        its = {one["name"]: one["value"].replace("8484", port) for one in app["env"]}
        running = subprocess.Popen(
            [sys.executable, *app["command"][1:]], env={**environ, **its}, stdout=subprocess.PIPE, text=True
        )
        try:
            assert len(running.stdout.readline()) > 10
            # Native sidecars end after the app.
            running.send_signal(signal.SIGTERM)
            assert running.wait(10) == 0
        finally:
            running.kill()
            running.communicate()
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait(20) == 0
    finally:
        proxy.kill()
        proxy.communicate()
