"""The pages beside ``deploy/README.md`` name only what exists."""

import importlib.util
import re

import pytest

from app.settings.loading import env_names, file_variable
from app.settings.model import Settings
from tests.deploy.composed import DEPLOY

PAGES = sorted(DEPLOY.glob("[a-z]*.md"))


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def text(request):
    return request.param.read_text("utf-8")


def test_settings_exist(text):
    known = {variable for name in Settings.names() for variable in [*env_names(name), file_variable(name)]}
    named = set(re.findall(r"\b(?:FLARELAY|CLOUDFLARE)_[A-Z_]+", text))
    assert named
    assert named <= known


def test_modules_can_be_run(text):
    modules = re.findall(r"python -m ([\w.]+)", text)
    assert modules
    assert [module for module in modules if not importlib.util.find_spec(module)] == []


def test_paths_are_there(text):
    paths = re.findall(r"`(kubernetes/[\w/]+|[\w.]+\.(?:cfg|yml|md))`", text)
    assert [path for path in paths if not (DEPLOY / path).exists()] == []
