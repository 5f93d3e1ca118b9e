import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.catalogue import Catalogue, CatalogueError, build
from app.catalog.facts import Bundle, bundled
from app.core.errors import NotFound
from app.core.model import Model

BIG = "@cf/openai/gpt-oss-120b"
SMALL = "@cf/openai/gpt-oss-20b"
BUNDLE = bundled()


@pytest.fixture
def catalogue() -> Catalogue:
    return build(BUNDLE)


def two_of_a_name() -> Bundle:
    models = [Model("@cf/one/twin"), Model("@cf/two/twin"), Model("@cf/one/single")]
    return Bundle({model.id: model for model in models})


def refusal(catalogue: Catalogue, name: str) -> NotFound:
    with pytest.raises(NotFound) as caught:
        catalogue.resolve(name)
    return caught.value


@pytest.mark.parametrize(
    "name",
    [
        BIG,
        "openai/gpt-oss-120b",
        "gpt-oss-120b",
        f"workers-ai/{BIG}",
        "workers-ai/gpt-oss-120b",
        "GPT-OSS-120B",
        "OpenAI/gpt-oss-120b",
        "@CF/openai/gpt-oss-120B",
    ],
)
def test_a_model_answers_to_all_its_names(catalogue, name):
    assert catalogue.resolve(name).id == BIG


def test_every_bundled_model_is_found_by_its_short_name_in_any_case(catalogue):
    for model in BUNDLE.models.values():
        assert catalogue.resolve(model.short_name) is model
        assert catalogue.resolve(model.id.upper()) is model


@pytest.mark.parametrize("name", ["gpt-4o", "", "@cf/openai", "@xx/openai/gpt", "@cf/a/b/c", "@cf/a b/c", "@cf/a/b\n"])
def test_what_is_no_model_is_refused_as_openai_does(catalogue, name):
    error = refusal(catalogue, name)
    assert (error.status, error.code, error.param, error.type) == (
        404,
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    assert error.message.startswith(f"The model '{name}' does not exist or you do not have access to it.")


@pytest.mark.parametrize("name", ["@cf/../run", "@cf/./x", "@cf/x/..", "@cf/.../x", "workers-ai/@cf/x/.."])
def test_an_id_that_would_climb_in_a_path_is_refused(catalogue, name):
    assert refusal(catalogue, name).code == "model_not_found"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gpt-oss-120", BIG), ("openai/gpt-oss-12b", BIG), ("bge-m4", "@cf/baai/bge-m3"), ("my-modle", "my-model")],
)
def test_a_refusal_names_what_was_probably_meant(name, hint):
    error = refusal(build(BUNDLE, aliases={"my-model": BIG}), name)
    assert error.message.endswith(f" Did you mean '{hint}'?")


def test_a_refusal_without_a_likely_name_has_no_hint(catalogue):
    assert "Did you mean" not in refusal(catalogue, "something else entirely").message


def test_a_huge_name_is_cut_in_the_message(catalogue):
    assert len(refusal(catalogue, "x" * 1_000_000).message) < 300


@pytest.mark.parametrize("name", ["@cf/new/model-9", "@hf/old/model.v1", "workers-ai/@cf/new/model-9"])
def test_an_unknown_but_well_formed_id_passes(catalogue, name):
    model = catalogue.resolve(name)
    assert model.id == name.removeprefix("workers-ai/")
    assert (model.dialect, model.chat, model.function_calling, model.vision) == ("chat", True, True, True)
    assert model.context_window is None
    assert model.id not in {entry["id"] for entry in catalogue.entries()}


def test_a_short_name_of_two_models_finds_neither():
    catalogue = build(two_of_a_name())
    for name in ("twin", "TWIN"):
        message = refusal(catalogue, name).message
        assert "use the full id: '@cf/one/twin' and '@cf/two/twin'" in message
    assert catalogue.resolve("two/twin").id == "@cf/two/twin"
    assert catalogue.resolve("single").id == "@cf/one/single"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (BIG, BIG),
        ("gpt-oss-20b", SMALL),
        ("workers-ai/@cf/openai/gpt-oss-20b", SMALL),
        ("other", SMALL),
        ("@cf/new/model-9", "@cf/new/model-9"),
    ],
)
def test_an_alias_stands_for_any_name(target, found):
    catalogue = build(BUNDLE, aliases={"gpt-4o": target, "other": "gpt-oss-20b"})
    assert catalogue.resolve("gpt-4o").id == found
    assert catalogue.resolve("GPT-4o").id == found


def test_an_alias_goes_before_a_models_own_names():
    catalogue = build(BUNDLE, aliases={"gpt-oss-20b": BIG, SMALL: BIG})
    assert catalogue.resolve("gpt-oss-20b").id == BIG
    assert catalogue.resolve(SMALL).id == BIG
    assert catalogue.resolve("openai/gpt-oss-20b").id == SMALL
    assert [entry["root"] for entry in catalogue.entries() if entry["id"] == SMALL] == [BIG]


@pytest.mark.parametrize(
    ("aliases", "words"),
    [
        ({"a": "a"}, "a -> a"),
        ({"a": "b", "b": "c", "c": "a"}, "a -> b -> c -> a"),
        ({"x": "a", "a": "b", "b": "a"}, "leads back to itself"),
        ({"a": "gpt-oss-120"}, f"did you mean '{BIG}'"),
        ({"a": "no such thing at all"}, "needs its full id"),
        ({"": BIG}, "empty"),
    ],
)
def test_aliases_that_lead_nowhere_are_refused(aliases, words):
    with pytest.raises(CatalogueError) as caught:
        build(BUNDLE, aliases=aliases)
    assert words in str(caught.value)


def test_a_dialect_can_be_set_by_any_name():
    overrides = {"qwq-32b": "native", "mine": "native", "@cf/new/model-9": "native"}
    catalogue = build(BUNDLE, aliases={"mine": "gpt-oss-20b"}, dialect_overrides=overrides)
    for name in ("@cf/qwen/qwq-32b", "mine", SMALL, "@cf/new/model-9"):
        assert catalogue.resolve(name).dialect == "native"
    assert catalogue.resolve(BIG).dialect == "chat"
    assert BUNDLE.models[SMALL].dialect == "chat"
    assert "@cf/new/model-9" not in {model.id for model in catalogue.models()}


def test_a_dialect_of_no_model_is_refused():
    with pytest.raises(CatalogueError, match=r"'qwq-33b', which is no model; did you mean '@cf/qwen/qwq-32b'\?"):
        build(BUNDLE, dialect_overrides={"qwq-33b": "native"})


def test_the_list_has_every_model_and_the_aliases_last():
    entries = build(BUNDLE, aliases={"gpt-4o": BIG}).entries()
    assert len(entries) == 75
    assert entries[0]["id"] == BIG
    assert (entries[-1]["id"], entries[-1]["root"]) == ("gpt-4o", BIG)
    assert len({entry["id"] for entry in entries}) == 75


def test_an_entry_is_openais_model_object_and_more(catalogue):
    assert catalogue.find_entry("gpt-oss-120b") == {
        "id": BIG,
        "object": "model",
        "created": 1754390849,
        "owned_by": "openai",
        "root": BIG,
        "task": "Text Generation",
        "context_window": 128000,
        "max_output_tokens": 128000,
        "capabilities": {
            "chat": True,
            "function_calling": True,
            "reasoning": True,
            "vision": False,
            "structured_outputs": True,
            "reasoning_efforts": ["low", "medium", "high"],
            "default_reasoning_effort": "medium",
        },
        "pricing": {
            "currency": "USD",
            "per_million_tokens": {"input": 0.35, "output": 0.75},
            "neurons_per_million_tokens": {"input": 31818, "output": 68182},
        },
        "requires_paid_plan": False,
    }


def test_an_entry_shows_other_tasks_as_they_are(catalogue):
    embedding, speech, free = (
        catalogue.find_entry(name) for name in ("bge-small-en-v1.5", "nova-3", "dreamshaper-8-lcm")
    )
    assert (embedding["dimensions"], embedding["max_input_tokens"]) == (384, 512)
    assert (embedding["capabilities"]["chat"], embedding["max_output_tokens"]) == (False, None)
    assert speech["pricing"]["per_unit"]["per audio minute"] == 0.0052
    assert "per_million_tokens" not in speech["pricing"]
    assert free["pricing"] is None


def test_an_alias_is_shown_as_itself():
    catalogue = build(BUNDLE, aliases={"gpt-4o": BIG})
    assert catalogue.find_entry("gpt-4o")["id"] == "gpt-4o"
    assert catalogue.find_entry(BIG)["id"] == BIG
    assert [*catalogue.aliases()] == ["gpt-4o"]


def test_an_entry_of_an_unknown_model_can_be_shown(catalogue):
    assert catalogue.find_entry("@cf/new/model-9")["owned_by"] == "new"
    with pytest.raises(NotFound):
        catalogue.find_entry("nothing")


def _found(catalogue: Catalogue, name: str) -> Model | None:
    try:
        return catalogue.resolve(name)
    except NotFound:
        return None


@given(st.one_of(st.text(), st.from_regex(r"(workers-ai/)?@(cf|hf)/[a-z./]{0,5}/[a-z./]{0,5}")))
def test_any_name_is_found_or_refused(name):
    model = _found(build(two_of_a_name()), name)
    assert model is None or not {"", ".", ".."} & set(model.id.split("/"))
