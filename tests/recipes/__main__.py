"""Install and run the README's recipes against a proxy in front of the emulator: ``python -m tests.recipes [NAME …]``.

Packages come from the registries that pip and npm know, in the versions of each recipe's own requirement file, into a
temporary folder. The exit status is the number of recipes that failed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.recipes.kitchen import RecipeError, cook, install, proxied
from tests.recipes.shelf import RECIPES

HEAD = ("RECIPE", "VERSIONS", "API", "REQUESTS", "STREAMED", "TOOLS", "CALLED", "SECONDS")


def main(names: list[str]) -> int:
    """Run recipes, print a table, and tell how many failed."""
    chosen = [recipe for recipe in RECIPES if not names or recipe.name in names]
    if unknown := set(names) - {recipe.name for recipe in RECIPES}:
        print(f"no such recipe: {', '.join(sorted(unknown))}; there are {', '.join(one.name for one in RECIPES)}")
        return 1
    rows, failed = [HEAD], 0
    with tempfile.TemporaryDirectory(prefix="flarelay-recipes-") as made:
        folder = Path(made)
        with proxied(folder / "data") as proxy:
            for recipe in chosen:
                print(f"{recipe.name} …", file=sys.stderr, flush=True)
                versions = " ".join(f"{name} {version}" for name, version in recipe.pins().items())
                try:
                    install(recipe, folder / recipe.name)
                    meal = cook(recipe, folder / recipe.name, proxy)
                except RecipeError as error:
                    failed += 1
                    rows.append((recipe.name, versions, "FAILED", *[""] * 5))
                    print(error, file=sys.stderr)
                    continue
                said = ["yes" if did else "no" for did in (meal.streamed, meal.tools, meal.called)]
                rows.append((recipe.name, versions, meal.surfaces, str(meal.requests), *said, f"{meal.seconds:.1f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return failed


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RecipeError as trouble:
        sys.exit(str(trouble))
