"""The README shows the recipes as they are run. Running them installs packages: FLARELAY_TEST_RECIPES=1 wants that."""

import os
import re

import pytest

from tests.recipes.kitchen import cook, install, proxied
from tests.recipes.shelf import ADDRESS, HERE, README, RECIPES

TEXT = README.read_text("utf-8")
SHOWN = dict(re.findall(r"<!-- recipe: (\S+) -->\n```\w+\n(.*?\n)```\n", TEXT, re.DOTALL))
NAMES = [recipe.name for recipe in RECIPES]


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_the_readme_shows_what_is_run(recipe):
    for name in recipe.shown:
        assert SHOWN.get(f"{recipe.name}/{name}") == (recipe.folder / name).read_text("utf-8"), name
        assert ADDRESS in SHOWN[f"{recipe.name}/{name}"] or name.endswith(".sh")
    assert f"<details><summary>{recipe.title}</summary>" in TEXT


def test_the_readme_shows_nothing_else():
    assert sorted(SHOWN) == sorted(f"{recipe.name}/{name}" for recipe in RECIPES for name in recipe.shown)
    folders = {folder.name for folder in HERE.iterdir() if folder.is_dir() and folder.name != "__pycache__"}
    assert folders == set(NAMES)


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_every_package_has_one_version_and_no_address(recipe):
    pins = recipe.pins()
    assert pins
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in pins.values()), pins
    requirements = "package.json" if recipe.kind == "node" else "requirements.txt"
    assert "://" not in (recipe.folder / requirements).read_text("utf-8")


@pytest.mark.skipif(os.environ.get("FLARELAY_TEST_RECIPES") != "1", reason="FLARELAY_TEST_RECIPES is not 1")
@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_it_works(recipe, tmp_path):
    install(recipe, tmp_path / recipe.name)
    with proxied(tmp_path / "data") as proxy:
        cook(recipe, tmp_path / recipe.name, proxy)
