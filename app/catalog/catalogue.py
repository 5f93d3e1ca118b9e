"""The catalogue: every model that can be called, by every name it goes by. An immutable value, built anew to change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from app.catalog.entry import entry
from app.catalog.facts import Bundle
from app.catalog.live import GUARD, RERANKER, TEXT_GENERATION, merge, parse_rows, words_of
from app.catalog.names import NameTable, closest, is_well_formed, shown, without_prefix
from app.core.errors import NotFound
from app.core.model import DialectName, Model

ANY_MODEL: Final = "*"
"""Stands for every model in the table of fallbacks."""

CLASSIFICATION: Final = "Text Classification"
"""The task of rerankers, and of other models whose names do not tell them apart."""

_NOTHING: Final[Mapping[str, Any]] = {}


class CatalogueError(ValueError):
    """The aliases or the dialects are set to something that cannot be; the message says what."""


class Catalogue:
    """All models and their names. Made by ``build``; nothing in it changes.

    Args:
        models: All that are known, by id.
        listed: The ids to be shown in lists.
        aliases: The operator's own names, each with the id of its model.
    """

    __slots__ = ("_aliases", "_by_name", "_folded_aliases", "_listed", "_models", "_names")

    def __init__(self, models: Mapping[str, Model], listed: Iterable[str], aliases: Mapping[str, str]) -> None:
        self._models = models
        self._names = NameTable(models)
        self._listed = tuple(models[model_id] for model_id in listed)
        self._aliases = {alias: models[model_id] for alias, model_id in aliases.items()}
        self._folded_aliases = {alias.lower(): model for alias, model in self._aliases.items()}
        # What almost every request asks for, in one look; an alias goes before all other names.
        self._by_name = {**models, **self._aliases}

    def resolve(self, name: str, task: str = TEXT_GENERATION) -> Model:
        """Find a model by an alias, its id, its id without ``@cf/``, or its short name.

        An id that we do not know passes if it is well formed: Cloudflare adds models faster than we hear of them.

        Args:
            name: The name.
            task: What an unknown model is taken to do.

        Raises:
            NotFound: There is no such model.
        """
        found = self._by_name.get(name)
        if found is not None:
            return found
        found = self._folded_aliases.get(name.lower())
        if found is not None:
            return found
        model_id = self._names.find(name)
        if model_id is not None:
            return self._models[model_id]
        model_id = without_prefix(name)
        if is_well_formed(model_id):
            return generic(model_id, task)
        raise NotFound(self._refusal(name), param="model", code="model_not_found")

    def models(self) -> list[Model]:
        """The models to be shown in lists, without aliases."""
        return list(self._listed)

    def aliases(self) -> dict[str, Model]:
        """The operator's own names."""
        return dict(self._aliases)

    def entries(self) -> list[dict[str, Any]]:
        """OpenAI's model objects of all listed models, and of the aliases after them."""
        aliased = [entry(model, alias) for alias, model in self._aliases.items()]
        return [entry(model) for model in self._listed if model.id not in self._aliases] + aliased

    def find_entry(self, name: str) -> dict[str, Any]:
        """OpenAI's model object of one model, by any of its names.

        Raises:
            NotFound: There is no such model.
        """
        return entry(self.resolve(name), name if name in self._aliases else None)

    def fallbacks(self, model: Model, wanted: Mapping[str, Sequence[str]]) -> list[Model]:
        """What may answer in a model's place.

        Args:
            model: The model.
            wanted: Names of models by the name of the one that they stand in for; ``*`` is every model. Names of models
                that are not there any more are passed over.
        """
        found: dict[str, Model] = {}
        for name, others in wanted.items():
            if name == ANY_MODEL or self._id(name) == model.id:
                found.update((other.id, other) for one in others if (other := self._models.get(self._id(one) or "")))
        found.pop(model.id, None)
        return list(found.values())

    def _id(self, name: str) -> str | None:
        try:
            return self.resolve(name).id
        except NotFound:
            return None

    def _refusal(self, name: str) -> str:
        sentence = f"The model '{shown(name)}' does not exist or you do not have access to it."
        sharing = self._names.sharing(name)
        if sharing:
            several = " and ".join(f"'{model_id}'" for model_id in sharing)
            return f"{sentence} Several models have this name; use the full id: {several}."
        hint = closest(name, [*(model.id for model in self._listed), *self._aliases])
        return f"{sentence} Did you mean '{hint}'?" if hint else sentence


def build(
    bundle: Bundle,
    live_rows: Iterable[object] | None = None,
    aliases: Mapping[str, str] = _NOTHING,
    dialect_overrides: Mapping[str, DialectName] = _NOTHING,
    *,
    complete: bool = True,
) -> Catalogue:
    """Make a catalogue. What was accepted once is accepted with every later live list.

    Args:
        bundle: The bundled facts.
        live_rows: The rows of Cloudflare's model search, as they came; ``None`` while there are none.
        aliases: The operator's own names for models; each stands for an id, a short name or another alias.
        dialect_overrides: The dialects of models, each model by any of its names.
        complete: All pages of the live list were read, so a model that is not there is listed no more.

    Raises:
        CatalogueError: An alias stands for nothing or for itself, or a dialect is set for no model.
    """
    models, listed = _with_live(bundle, live_rows, complete=complete)
    # Names are looked for among the bundled models first: those never change, so a list that arrives later can
    # neither break nor move an alias.
    tables = (NameTable(bundle.models), NameTable(models))
    targets = {alias: _follow(alias, aliases, tables) for alias in aliases}
    for model_id in targets.values():
        models.setdefault(model_id, generic(model_id))
    for name, dialect in dialect_overrides.items():
        found = targets[name] if name in targets else _find(name, tables)
        if found is None:
            raise CatalogueError(f"a dialect is set for '{shown(name)}', which is no model; {_advice(name, models)}")
        models[found] = replace(models.get(found) or generic(found), dialect=dialect, tools_dialect=None)
    return Catalogue(models, listed, targets)


def generic(model_id: str, task: str = TEXT_GENERATION) -> Model:
    """A model of which only the id is known: everything is tried, because refusing could be wrong."""
    words = words_of(model_id)
    return Model(
        id=model_id,
        task=task,
        shape="hybrid",
        function_calling=True,
        vision=True,
        json_schema="envelope",
        moderates=GUARD in words,
        reranks=RERANKER in words or task == CLASSIFICATION,
    )


def _with_live(
    bundle: Bundle, live_rows: Iterable[object] | None, *, complete: bool
) -> tuple[dict[str, Model], list[str]]:
    models = dict(bundle.models)
    rows = parse_rows(live_rows) if live_rows is not None else {}
    for model_id, row in rows.items():
        enforced = model_id in bundle.enforced_windows
        models[model_id] = merge(row, bundle.models.get(model_id), window_enforced=enforced)
    # A list without one readable row is a failure to read it rather than an account without models.
    listed = [model_id for model_id in models if model_id in rows] if rows and complete else list(models)
    return models, listed


def _follow(alias: str, aliases: Mapping[str, str], tables: tuple[NameTable, NameTable]) -> str:
    if not alias:
        raise CatalogueError("an alias has an empty name")
    seen = [alias]
    target = aliases[alias]
    while target in aliases:
        if target in seen:
            raise CatalogueError(f"the alias '{shown(alias)}' leads back to itself: {' -> '.join([*seen, target])}")
        seen.append(target)
        target = aliases[target]
    model_id = _find(target, tables)
    if model_id is None:
        stands = f"the alias '{shown(alias)}' stands for '{shown(target)}'"
        raise CatalogueError(f"{stands}, which is no model; {_advice(target, tables[1].ids)}")
    return model_id


def _find(name: str, tables: tuple[NameTable, NameTable]) -> str | None:
    for table in tables:
        model_id = table.find(name)
        if model_id is not None:
            return model_id
    model_id = without_prefix(name)
    return model_id if is_well_formed(model_id) else None


def _advice(name: str, ids: Iterable[str]) -> str:
    hint = closest(name, ids)
    return f"did you mean '{hint}'?" if hint else "a model that is newer than this release needs its full id"
