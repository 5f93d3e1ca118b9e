"""Reads the Kubernetes manifests: as they are written, and as kustomize puts them together."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.composed import DEPLOY

FOLDERS = {name: DEPLOY / "kubernetes" / name for name in ("base", "overlays/scale", "sidecar")}
KUSTOMIZATION = "kustomization.yaml"

Manifest = dict[str, Any]


def load(path: Path) -> Manifest:
    """The one document of a file."""
    (document,) = yaml.safe_load_all(path.read_text("utf-8"))
    assert isinstance(document, dict)
    return document


@functools.cache
def rendered(folder: str) -> tuple[Manifest, ...]:
    """What kustomize makes of a folder; without it the test is skipped."""
    if (kustomize := shutil.which("kustomize")) is not None:
        command = [kustomize, "build"]
    elif (kubectl := shutil.which("kubectl")) is not None:
        command = [kubectl, "kustomize"]
    else:
        pytest.skip("neither kustomize nor kubectl is installed")
    done = subprocess.run([*command, FOLDERS[folder]], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def named(manifests: tuple[Manifest, ...], kind: str) -> set[str]:
    """The names of those of one kind."""
    return {manifest["metadata"]["name"] for manifest in of_kind(manifests, kind)}


def pods(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    """The templates of pods."""
    return [manifest["spec"]["template"] for manifest in of_kind(manifests, "Deployment")]


def containers(pod: Manifest) -> list[Manifest]:
    """All containers of a pod, sidecars among them."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def secrets(folder: str) -> Iterator[Manifest]:
    """The secrets that a folder needs, as its examples show them; an overlay needs the base's, too."""
    for place in dict.fromkeys(["base", folder] if folder.startswith("overlays") else [folder]):
        yield load(FOLDERS[place] / "secret.example.yaml")
