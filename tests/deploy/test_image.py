"""The Dockerfile is what it should be, and what it builds runs. The build itself takes a minute and is asked for:
``FLARELAY_TEST_IMAGE=1``, or ``python -m tests.deploy.image``.
"""

import json
import os
import re
import subprocess
import sys
import tomllib

import pytest

from app import __version__
from tests.deploy.dockerfile import ROOT, Ignored, context_files, stages
from tests.deploy.extras import EXTRAS, blocks, extras_lock
from tests.deploy.free import free_port
from tests.deploy.image import CANNOT

TEXT = (ROOT / "Dockerfile").read_text("utf-8")
BUILD, RESULT = stages(TEXT)
HEALTH = ROOT / "deploy/health.py"


def test_the_base_is_a_version_of_python_that_is_tried():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert BUILD.base == RESULT.base
    version = re.fullmatch(r"python:(3\.\d+)-slim-\w+", RESULT.base)[1]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]
    # No registry is written down.
    assert "/" not in RESULT.base


def test_the_base_can_be_a_digest():
    pinned = "python@sha256:" + "0" * 64
    assert {stage.base for stage in stages(TEXT, {"BASE": pinned})} == {pinned}


def test_packages_come_from_the_locks_and_are_never_built():
    (install,) = [step.rest for step in BUILD.all("RUN") if " install --" in step.rest and "pip" in step.rest]
    assert {"--require-hashes", "--only-binary=:all:"} <= set(install.split())
    assert re.findall(r"-r (\S+)", install) == ["requirements.lock", "extras.lock"]
    assert "pip install" not in "".join(step.rest for step in RESULT.all("RUN"))


def test_the_lock_of_the_extras_is_current():
    assert EXTRAS.read_text("utf-8") == extras_lock(), "run: python -m tests.deploy.extras"
    assert {"redis", "asyncpg"} <= set(blocks(EXTRAS.read_text("utf-8")))


def test_nobody_in_the_container_has_rights():
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", RESULT.last("USER").rest)
    # What the user is given is the volume, and nothing else.
    (given,) = [word for step in RESULT.all("RUN") for word in re.findall(r"install -d .*", step.rest)]
    user, group = RESULT.last("USER").rest.split(":")
    assert given == f"install -d -o {user} -g {group} /data"
    assert RESULT.last("VOLUME").form == ["/data"]
    assert RESULT.pairs("ENV")["FLARELAY_DATA_DIR"] == "/data"
    assert RESULT.steps.index(RESULT.last("USER")) > RESULT.steps.index(RESULT.all("RUN")[-1])


def test_signals_reach_the_server():
    assert RESULT.last("ENTRYPOINT").form == ["flarelay"]
    assert RESULT.last("CMD").form == ["serve"]
    # Nothing stands between: the script is started by its first line and runs the command itself.
    assert "'#!/opt/flarelay/bin/python' 'from app.cli import main'" in BUILD.all("RUN")[-1].rest


def test_the_health_check_needs_no_shell_and_no_other_program():
    command = json.loads(RESULT.last("HEALTHCHECK").rest.partition("CMD ")[2])
    assert command == ["/opt/flarelay/bin/python", "-I", "-S", "/opt/flarelay/health.py"]
    assert "curl" not in TEXT
    assert "wget" not in TEXT


def test_labels_and_port_are_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    labels = {name.rpartition(".")[2]: value for name, value in RESULT.pairs("LABEL").items()}
    assert labels["title"] == project["name"]
    assert labels["description"] == project["description"]
    assert labels["licenses"] == project["license"]
    assert labels["version"] == project["version"] == __version__
    assert RESULT.last("EXPOSE").rest == "8484"


def test_the_build_is_given_what_it_copies_and_nothing_else():
    ignored = Ignored((ROOT / ".dockerignore").read_text("utf-8"))
    copied = [word for step in BUILD.all("COPY") for word in step.words[:-1]]
    assert not [name for name in copied if ignored(name)]
    outside = [name for name in context_files() if not name.startswith("app/")]
    assert sorted(outside) == sorted(name for name in copied if name != "app")
    for name in (".git", ".env", "deploy/.env", "tests", "app/__pycache__", "app/core/__pycache__/x.pyc", "data"):
        assert ignored(name), name
    assert not ignored("app/core/limits.py")


def asked(server, path, **environ):
    host, port = server.removeprefix("http://").split(":")
    environ = {"FLARELAY_HOST": host, "FLARELAY_PORT": port, **environ}
    return subprocess.run(
        [sys.executable, "-I", "-S", HEALTH, *path],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("path", "environ", "status", "said"),
    [
        ([], {}, 0, ""),
        (["/healthz"], {}, 0, ""),
        # In a container it listens everywhere.
        ([], {"FLARELAY_HOST": "0.0.0.0"}, 0, ""),
        (["/nowhere"], {}, 1, "/nowhere: HTTP/1.1 404"),
        ([], {"FLARELAY_PORT": str(free_port())}, 1, "/readyz: no answer: "),
        ([], {"FLARELAY_PORT": "http"}, 1, "/readyz: no answer: "),
    ],
)
def test_the_health_check_tells_the_truth(proxy, path, environ, status, said):
    done = asked(proxy, path, **environ)
    assert done.returncode == status
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == status


@pytest.mark.skipif(not os.environ.get("FLARELAY_TEST_IMAGE"), reason="takes a minute: FLARELAY_TEST_IMAGE=1")
def test_the_image_is_built_and_runs():
    command = [sys.executable, "-m", "tests.deploy.image", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode == CANNOT:
        pytest.skip(done.stdout)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["faults"] == []
    assert told["bytes"]["total"] < 100e6
    assert told["bytes"]["gzipped"] < 35e6
