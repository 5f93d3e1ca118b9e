"""``deploy/README.md`` names what is there, with commands that exist."""

import importlib.util
import re

import pytest
import yaml

from app import __version__
from app.cli import main
from app.settings.loading import env_names, file_variable
from app.settings.model import Settings
from tests.deploy.composed import DEPLOY, composed
from tests.deploy.dockerfile import ROOT, stages
from tests.deploy.manifests import FOLDERS

TEXT = (DEPLOY / "README.md").read_text("utf-8")
FILES = sorted(path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*") if path.is_file())
OF_OTHERS = {".env", "README.md"}


def test_every_file_is_named_or_lies_in_a_named_folder():
    named = set(re.findall(r"`([\w./-]+)`", TEXT)) | set(re.findall(r"[\w./-]+\.\w+", TEXT))
    unnamed = [
        name
        for name in FILES
        if name not in OF_OTHERS | named
        and name.rpartition("/")[2] not in named
        and name.rpartition("/")[0] not in named
    ]
    # The health check is the image's own business.
    assert unnamed == ["health.py"]


def test_every_named_path_is_there():
    missing = []
    for name in re.findall(r"`((?:\.\./|kubernetes/|prometheus/|grafana/)[\w./-]+)`", TEXT):
        if not (DEPLOY / name).exists():
            missing.append(name)
    for name in re.findall(r"-k (?:\n)?([\w/]+)", TEXT):
        if DEPLOY / name not in FOLDERS.values():
            missing.append(name)
    assert missing == []


def test_every_setting_exists():
    known = {variable for name in Settings.names() for variable in [*env_names(name), file_variable(name)]}
    assert set(re.findall(r"\b(?:FLARELAY|CLOUDFLARE)_[A-Z_]+", TEXT)) <= known
    compose = (DEPLOY / "compose.yml").read_text("utf-8")
    for name in ("PUBLISH", "POSTGRES_PASSWORD"):
        assert f"`{name}" in TEXT
        assert f"${{{name}:-" in compose


def test_every_command_of_flarelay_exists():
    for words in re.findall(r"(?:--|exec \S+) flarelay ([a-z]+(?: [a-z]+)?)", TEXT):
        command = main
        for word in words.split():
            command = getattr(command, "commands", {}).get(word)
            assert command is not None, words


def test_every_service_exists():
    services = composed()["services"]
    for name in re.findall(r"docker compose (?:up --detach --wait|exec|build) ([a-z][\w-]*)", TEXT):
        assert name in services


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", TEXT))))
def test_every_module_can_be_run(module):
    assert importlib.util.find_spec(module)


def test_the_figures_are_those_of_the_files():
    assert set(re.findall(r"flarelay:(\d+\.[\w.]+)", TEXT)) == {__version__}
    base = stages((ROOT / "Dockerfile").read_text("utf-8"))[-1].base
    assert f"`{base}`" in TEXT
    drain = composed()["services"]["flarelay"]["environment"]["FLARELAY_DRAIN_SECONDS"]
    assert f"(up to {drain} s)" in TEXT
    pod = yaml.safe_load((FOLDERS["base"] / "deployment.yaml").read_text("utf-8"))["spec"]["template"]["spec"]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert f"goes on serving for {pause} s" in TEXT
    scaler = yaml.safe_load((FOLDERS["overlays/scale"] / "hpa.yaml").read_text("utf-8"))["spec"]
    assert f"keeps {scaler['minReplicas']} to {scaler['maxReplicas']} replicas" in TEXT
