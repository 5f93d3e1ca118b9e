"""What is installed is locked and counted, and the workflows give nobody else a token."""

import re
import tomllib

import pytest
import yaml

from tests.deploy.composed import DEPLOY
from tests.deploy.dockerfile import ROOT, stages
from tests.deploy.extras import blocks

WORKFLOWS = {path.name: path for path in (ROOT / ".github/workflows").glob("*.yml")}
TOOLS = ROOT / ".github/workflows/tools.lock"
# YAML reads the key `on` as true.
LOADED = {name: yaml.safe_load(path.read_text("utf-8")) for name, path in WORKFLOWS.items()}
JOBS = {f"{name} {job}": body for name, made in LOADED.items() for job, body in made["jobs"].items()}
STEPS = [(name, step) for name, job in JOBS.items() for step in job.get("steps", [])]
each_job = pytest.mark.parametrize("name", JOBS)
# Version of each, for the commit that is named: nothing else is used.
ACTIONS = {
    "actions/checkout": ("de0fac2e4500dabe0009e67214ff5f5447ce83dd", "v6.0.2"),
    "actions/setup-python": ("e797f83bcb11b83ae66e0230d6156d7c80228e7c", "v6.0.0"),
    "actions/upload-artifact": ("ea165f8d65b6e75b540449e92b4886f43607fa02", "v4.6.2"),
    "actions/download-artifact": ("634f93cb2916e3fdff6788551b99b062d0335ce0", "v5.0.0"),
    "actions/attest-build-provenance": ("977bb373ede98d70efdf65b84cb5f73e068dcc2a", "v3.0.0"),
    "actions/attest-sbom": ("4651f806c01d8637787e274ac3bdf724ef169f34", "v3.0.0"),
}


def counted(path):
    (number,) = re.findall(r"<!-- packages -->(\d+)<!-- /packages -->", path.read_text("utf-8"))
    return int(number)


@pytest.mark.parametrize("path", ["README.md", "deploy/README.md"])
def test_the_documentation_counts_the_packages_right(path):
    assert counted(ROOT / path) == len(blocks((ROOT / "requirements.lock").read_text("utf-8")))


def test_every_lock_has_hashes_and_names_no_index():
    for path in (DEPLOY / "extras.lock", TOOLS):
        text = path.read_text("utf-8")
        assert "://" not in text
        assert "--index" not in text
        for name, block in blocks(text).items():
            assert re.match(r"[a-z0-9.-]+==\S+", block), name
            assert "--hash=sha256:" in block, name


def test_the_tools_are_those_that_are_asked_for():
    wanted = re.findall(r"^([a-z-]+)>=", TOOLS.with_suffix(".in").read_text("utf-8"), re.MULTILINE)
    assert len(wanted) > 3
    assert set(wanted) <= set(blocks(TOOLS.read_text("utf-8")))
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    assert [re.match(r"[a-z]+", one)[0] for one in backend] == ["hatchling"]
    assert "hatchling" in wanted


def test_actions_are_githubs_own_and_one_commit_each():
    used = re.findall(r"uses: (.+)$", "".join(path.read_text("utf-8") for path in WORKFLOWS.values()), re.MULTILINE)
    expected = {f"{name}@{commit} # {version}" for name, (commit, version) in ACTIONS.items()}
    assert set(used) == expected | {"./.github/workflows/ci.yml"}


@pytest.mark.parametrize("name", LOADED)
def test_a_workflow_may_only_read(name):
    assert LOADED[name]["permissions"] == {"contents": "read"}


@each_job
def test_a_job_is_bounded_and_has_no_more_rights_than_it_needs(name):
    job = JOBS[name]
    rights = {right for right, value in job.get("permissions", {}).items() if value == "write"}
    assert rights == {
        "release.yml packages": {"id-token", "attestations"},
        "release.yml image": {"packages"},
        "release.yml images": {"packages", "id-token", "attestations"},
        "release.yml publish": {"id-token"},
        "release.yml notes": {"contents"},
    }.get(name, set())
    if "uses" not in job:
        assert job["timeout-minutes"] <= 30
        assert "latest" not in job["runs-on"]


def test_nothing_is_put_into_a_script_and_no_credentials_stay():
    for name, step in STEPS:
        # What a name or a title holds would be run.
        assert "${{" not in step.get("run", ""), name
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
        for line in re.findall(r"pip\S* .*install.*", step.get("run", "")):
            assert "--require-hashes" in line, line


def test_ci_runs_the_projects_own_command_on_every_version():
    jobs = LOADED["ci.yml"]["jobs"]
    commands = [step.get("run", "") for step in jobs["test"]["steps"]]
    readme = (ROOT / "README.md").read_text("utf-8")
    (command,) = [line for line in commands if "requirements-dev.lock" in line]
    assert command in readme
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    versions = [one.rpartition(" ")[2] for one in project["classifiers"] if re.search(r"Python :: 3\.\d+$", one)]
    assert jobs["test"]["strategy"]["matrix"]["python"] == versions
    audited = " ".join(step.get("run", "") for step in jobs["audit"]["steps"])
    locks = ["requirements.lock", "deploy/extras.lock", "requirements-dev.lock", ".github/workflows/tools.lock"]
    assert [lock for lock in locks if f"-r {lock}" not in audited] == []


def test_a_release_says_where_it_comes_from_and_what_is_in_it():
    jobs = LOADED["release.yml"]["jobs"]
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert {jobs[name]["needs"] for name in ("packages", "image")} == {"ci"}
    used = [step.get("uses", "").partition("@")[0] for step in jobs["packages"]["steps"]]
    assert {"actions/attest-build-provenance", "actions/attest-sbom"} <= set(used)
    commands = "".join(step.get("run", "") for job in jobs.values() for step in job.get("steps", []))
    for words in ("cyclonedx-py environment", "--provenance mode=max", "--sbom true", "--trusted-publishing always"):
        assert words in commands
    arguments = set(re.findall(r"--build-arg (\w+)=", commands))
    declared = re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert arguments <= set(declared)
    assert (
        stages((ROOT / "Dockerfile").read_text("utf-8"), {"VERSION": "9"})[-1].pairs("LABEL")[
            "org.opencontainers.image.version"
        ]
        == "9"
    )
