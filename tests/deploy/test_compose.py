"""The compose file fits the image, the settings and itself."""

import re
import shutil
import subprocess
from ipaddress import ip_address

import pytest

from app.settings import load
from app.settings.loading import env_names, file_variable
from app.settings.model import Settings
from tests.deploy.composed import COMPOSE, DEPLOY, composed, seconds
from tests.deploy.dockerfile import ROOT, stages

SERVICES = composed()["services"]
IMAGE = stages((ROOT / "Dockerfile").read_text("utf-8"))[-1]
OURS = [name for name, service in SERVICES.items() if "build" in service]
PROXIES = [name for name in OURS if name != "emulator"]
each_service = pytest.mark.parametrize("name", SERVICES)
each_proxy = pytest.mark.parametrize("name", PROXIES)
SETTINGS = {variable for name in Settings.names() for variable in [*env_names(name), file_variable(name)]}


def started(name):
    """What ``docker compose up NAME`` starts: the service and, one after the other, what it depends on."""
    found, waiting = [], [name]
    while waiting:
        found.append(one := waiting.pop())
        waiting += SERVICES[one].get("depends_on", {})
    return set(found)


def test_what_each_command_starts():
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["flarelay"]
    assert started("flarelay") == {"flarelay"}
    assert started("offline") == {"offline", "emulator"}
    assert started("balancer") == {"balancer", "replica-1", "replica-2", "replica-3", "redis", "postgres"}
    for profile, door in (("offline", "offline"), ("scale", "balancer")):
        assert started(door) == {name for name, service in SERVICES.items() if service.get("profiles") == [profile]}
    head = COMPOSE.read_text("utf-8").partition("\nname:")[0]
    assert re.findall(r"up --detach --wait ?(\w*)$", head, re.MULTILINE) == ["", "offline", "balancer"]


@each_service
def test_every_container_is_hardened(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    user = service.get("user") or IMAGE.last("USER").rest
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert service["healthcheck"]["test"][0] == "CMD"
    # Compose's own default is 10 s.
    assert seconds(service.get("stop_grace_period", "10s")) >= 10


@each_service
def test_images_are_named_without_a_registry_and_with_a_version(name):
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z]+:[0-9a-z.-]+", image)
    assert name in OURS or not image.endswith(":latest")


@each_service
def test_what_a_service_names_is_there(name):
    service = SERVICES[name]
    made = composed()
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (DEPLOY / source).is_file() if source.startswith(".") else source in made["volumes"]
    assert set(service.get("networks", [])) <= {"default", *made["networks"]}
    for other, condition in service.get("depends_on", {}).items():
        assert condition == {"condition": "service_healthy"}
        assert SERVICES[other].get("profiles") == service.get("profiles")
        shared = set(SERVICES[other].get("networks", ["default"])) & set(service.get("networks", ["default"]))
        assert shared, f"{name} cannot reach {other}"


@each_service
def test_ports_are_open_to_this_machine_only(name):
    for port in SERVICES[name].get("ports", []):
        host, outside, inside = port.rsplit(":", 2)
        assert ip_address(host).is_loopback
        assert outside == inside == IMAGE.last("EXPOSE").rest


@each_proxy
def test_the_settings_can_be_used(name):
    service = SERVICES[name]
    given = {variable: str(value) for variable, value in service["environment"].items()}
    assert set(given) <= SETTINGS
    account = {"CLOUDFLARE_ACCOUNT_ID": "0" * 32, "CLOUDFLARE_API_TOKEN": "token-" + "0" * 34}
    settings = load({}, {**IMAGE.pairs("ENV"), **account, **given})
    assert (settings.host, settings.port) == ("0.0.0.0", 8484)
    assert str(settings.data_dir) == "/data"
    # Time to finish, and then to close the store.
    assert seconds(service["stop_grace_period"]) >= settings.drain_seconds + 15
    command = re.search(r"CMD (\[.*\])", IMAGE.last("HEALTHCHECK").rest)[1]
    assert str(service["healthcheck"]["test"]).replace("'", '"') == '["CMD", ' + command[1:]
    # A key that is set is asked for.
    keys = load({}, {**IMAGE.pairs("ENV"), **account, **given, "FLARELAY_API_KEYS": "sk-abc"})
    assert keys.asks_for_keys


@each_proxy
def test_what_is_kept_outlives_the_container(name):
    volumes = dict(reversed(volume.split(":")) for volume in SERVICES[name].get("volumes", []))
    # Replicas have the bytes of files in common, which are not in the database.
    assert (volumes["/data"] == "shared") == ("FLARELAY_DATABASE_URL" in SERVICES[name]["environment"])


def test_offline_asks_the_emulator_and_scale_has_one_state():
    emulator = SERVICES["emulator"]
    port = emulator["command"][emulator["command"].index("--port") + 1]
    assert SERVICES["offline"]["environment"]["FLARELAY_UPSTREAM_URL"] == f"http://emulator:{port}/client/v4"
    assert emulator["environment"]["FLARELAY_PORT"] == port
    replicas = [SERVICES[name] for name in SERVICES if name.startswith("replica-")]
    assert len(replicas) == 3
    assert replicas[0] == replicas[1] == replicas[2]
    environ = replicas[0]["environment"]
    assert environ["FLARELAY_REDIS_URL"].startswith("redis://redis:")
    postgres = SERVICES["postgres"]["environment"]
    login = f"{postgres['POSTGRES_USER']}:{postgres['POSTGRES_PASSWORD']}"
    assert environ["FLARELAY_DATABASE_URL"] == f"postgresql://{login}@postgres/{postgres['POSTGRES_DB']}"
    assert composed()["networks"]["state"] == {"internal": True}
    assert SERVICES["redis"]["networks"] == SERVICES["postgres"]["networks"] == ["state"]


def test_the_environment_file_is_the_example():
    """Compose fills in variables from `.env`, and containers get the same file: they refuse what is no setting."""
    filled = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text("utf-8")))
    assert {name for name in filled if name.startswith("FLARELAY_")} <= SETTINGS
    assert filled & SETTINGS == {"FLARELAY_ALLOW_NO_KEYS_ON_NETWORK"}
    example = (DEPLOY / "env.example").read_text("utf-8")
    everything = dict(re.findall(r"^# ([A-Z_]+)=(.+)$", example, re.MULTILINE))
    assert len(everything) > 20
    account = {"CLOUDFLARE_ACCOUNT_ID": "0" * 32, "CLOUDFLARE_API_TOKEN": "token-" + "0" * 34}
    for name in PROXIES:
        mine = {variable: str(value) for variable, value in SERVICES[name]["environment"].items()}
        load({}, {**IMAGE.pairs("ENV"), **everything, **account, **dict.fromkeys(filled - SETTINGS, "x"), **mine})
    assert {service["env_file"][0]["path"] for name, service in SERVICES.items() if name in PROXIES} == {".env"}
    assert "cp env.example .env" in COMPOSE.read_text("utf-8")
    assert (DEPLOY / "env.example").is_file()


@pytest.mark.parametrize("profile", ["", "offline", "scale"])
def test_compose_itself_takes_the_file(profile):
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    command = [docker, "compose", "-f", COMPOSE, *(["--profile", profile] if profile else []), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
