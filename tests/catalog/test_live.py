from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.catalogue import build
from app.catalog.facts import bundled
from app.catalog.live import merge, parse_rows
from app.core.model import Price, ReasoningEfforts

BIG = "@cf/openai/gpt-oss-120b"
BUNDLE = bundled()


def row(name: object = BIG, task: object = "Text Generation", /, **properties: object) -> dict[str, Any]:
    return {
        "id": "f9f2250b-0000-4a52-9910-000000000000",
        "source": 1,
        "name": name,
        "description": "One of OpenAI's open models.",
        "created_at": "2025-08-05 10:27:29.131",
        "tags": [],
        "task": {"id": "c329a1f9-0000-4e91-b2aa-000000000000", "name": task, "description": "Words."},
        "properties": [{"property_id": key, "value": value} for key, value in properties.items()],
    }


def merged(live: dict[str, Any], *, known: bool = True) -> Any:
    ((model_id, parsed),) = parse_rows([live]).items()
    return merge(parsed, BUNDLE.models[model_id] if known else None)


def test_a_row_is_read_from_its_strings():
    model = merged(
        row(
            "@cf/new/model-9",
            context_window="262144",
            function_calling="true",
            reasoning="true",
            vision="true",
            require_workers_paid="true",
            planned_deprecation_date="2027-01-31",
            price=[
                {"unit": "per M input tokens", "price": 0.35, "currency": "USD"},
                {"unit": "per M output tokens", "price": "0.75", "currency": "USD"},
                {"unit": "per M cached input tokens", "price": 0.1, "currency": "USD"},
                {"unit": "per M output tokens", "price": 99, "currency": "EUR"},
            ],
            reasoning_effort={"supported_efforts": ["low", "high"], "default_effort": "high", "mandatory": "true"},
        ),
        known=False,
    )
    assert model.task == "Text Generation"
    assert model.created == 1754389649
    assert model.description == "One of OpenAI's open models."
    assert (model.context_window, model.deprecated_on) == (262144, "2027-01-31")
    assert model.function_calling
    assert model.reasoning
    assert model.vision
    assert model.requires_paid
    assert model.chat
    assert model.price == Price(0.35, 0.75, 0.1)
    assert model.neurons_per_million == (31818, 68182)
    assert model.reasoning_efforts == ReasoningEfforts(("low", "high"), "high", mandatory=True)
    assert (model.shape, model.json_schema) == ("openai", "envelope")


def test_a_new_model_without_efforts_is_taken_for_an_older_kind():
    model = merged(row("@cf/new/model-9"), known=False)
    assert (model.shape, model.json_schema, model.chat, model.function_calling) == ("legacy", "bare", True, False)


@pytest.mark.parametrize("name", ["@cf/meta/llama-guard-9", "@cf/cloudflare/clef-max"])
def test_a_new_model_that_judges_is_no_chat(name):
    assert not merged(row(name), known=False).chat


def test_a_new_model_of_another_task_is_no_chat():
    model = merged(
        row(
            "@cf/new/ears",
            "Automatic Speech Recognition",
            price=[{"unit": "per audio minute", "price": 0.01, "currency": "USD"}],
        ),
        known=False,
    )
    assert (model.chat, model.json_schema) == (False, "none")
    assert model.price.units == (("per audio minute", 0.01),)
    assert model.neurons_per_million is None


def test_an_embedding_row_states_its_sizes():
    model = merged(row("@cf/baai/bge-m3", "Text Embeddings", output_dimensions=1024, max_input_tokens="8192"))
    assert (model.dimensions, model.max_input_tokens) == (1024, 8192)


def test_live_wins_for_what_it_states_and_the_bundle_keeps_the_rest():
    known = BUNDLE.models[BIG]
    model = merged(row(context_window=200000, price=[{"unit": "per M input tokens", "price": 1.1}]))
    assert model.context_window == 200000
    assert model.price == Price(1.1)
    assert model.neurons_per_million == (100000, 0)
    assert (model.shape, model.json_schema, model.reasoning_efforts) == (
        known.shape,
        known.json_schema,
        known.reasoning_efforts,
    )
    assert model.function_calling


def test_an_unchanged_price_keeps_the_published_neurons():
    prices = [{"unit": "per M input tokens", "price": 0.2}, {"unit": "per M output tokens", "price": 0.3}]
    assert merged(row("@cf/openai/gpt-oss-20b", price=prices)).neurons_per_million == (18182, 27273)


@pytest.mark.parametrize(("stated", "window"), [("256000", 131072), ("100000", 100000), ("many", 131072)])
def test_an_enforced_window_holds_unless_a_smaller_one_is_stated(stated, window):
    catalogue = build(BUNDLE, [row("@cf/google/gemma-4-26b-a4b-it", context_window=stated)])
    assert catalogue.resolve("gemma-4-26b-a4b-it").context_window == window


def test_inline_thinking_is_kept():
    assert merged(row("@cf/qwen/qwq-32b")).thinks_inline


@pytest.mark.parametrize(
    "value", ["", "x", "-1", "0", None, True, [], {}, "1e400", float("nan"), "9" * 5000, 10**400, "1_0x"]
)
def test_a_number_that_is_none_is_not_stated(value):
    assert merged(row(context_window=value)).context_window == 128000


@pytest.mark.parametrize(
    "value", [None, 1, "nine", {}, [], {"supported_efforts": "low"}, {"supported_efforts": [1]}, "{"]
)
def test_efforts_that_cannot_be_read_are_not_stated(value):
    assert merged(row(reasoning_effort=value)).reasoning_efforts == BUNDLE.models[BIG].reasoning_efforts


def test_efforts_may_come_as_text_and_be_off_by_default():
    text = '{"supported_efforts": ["high", "none"], "default_enabled": false}'
    assert merged(row(reasoning_effort=text)).reasoning_efforts == ReasoningEfforts(("high", "none"), "none")


@pytest.mark.parametrize(
    "value", [None, [], "0.35", [None], [{"unit": "per step"}], [{"unit": 1, "price": 1}], [{"unit": "x", "price": -1}]]
)
def test_prices_that_cannot_be_read_are_not_stated(value):
    assert merged(row(price=value)).price == Price(0.35, 0.75)


@pytest.mark.parametrize("value", [None, 1, "", "yesterday", "0001-01-01T00:00:00+14:00", "9999-99-99"])
def test_dates_that_cannot_be_read_are_not_stated(value):
    live = row(planned_deprecation_date=value) | {"created_at": value}
    model = merged(live)
    assert (model.created, model.deprecated_on) == (1754390849, None)


@pytest.mark.parametrize(
    "junk", [None, 1, "row", [], {}, row(None), row("gpt-oss"), row("@cf/../x"), {"name": ["@cf/a/b"]}, {"id": BIG}]
)
def test_junk_rows_are_skipped(junk):
    assert list(parse_rows([junk, row()])) == [BIG]


def test_of_repeated_rows_the_first_counts():
    catalogue = build(BUNDLE, [row(context_window=1000), row(context_window=2000)])
    assert catalogue.resolve(BIG).context_window == 1000


def test_models_that_a_complete_list_lacks_are_listed_no_more_but_still_resolve():
    catalogue = build(BUNDLE, [row("@cf/new/model-9"), row()])
    assert [model.id for model in catalogue.models()] == [BIG, "@cf/new/model-9"]
    assert catalogue.resolve("gpt-oss-20b").context_window == 128000
    assert catalogue.resolve("model-9").chat


def test_models_that_an_incomplete_list_lacks_stay_listed():
    catalogue = build(BUNDLE, [row("@cf/new/model-9")], complete=False)
    assert len(catalogue.models()) == 75


@pytest.mark.parametrize("rows", [[], [None, "junk"]])
def test_a_list_without_a_readable_row_changes_nothing(rows):
    assert len(build(BUNDLE, rows).models()) == 74


def test_a_later_list_neither_breaks_nor_moves_an_alias():
    rows = [row("@cf/rival/gpt-oss-20b"), row()]
    catalogue = build(BUNDLE, rows, {"small": "gpt-oss-20b"}, {"gpt-oss-20b": "native"})
    assert catalogue.resolve("small").id == "@cf/openai/gpt-oss-20b"
    assert catalogue.resolve("small").dialect == "native"


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_PROPERTY = st.sampled_from(
    ["context_window", "price", "reasoning_effort", "function_calling", "vision", "planned_deprecation_date"]
)


@given(st.dictionaries(_PROPERTY, _JUNK, max_size=4), _JUNK, _JUNK)
def test_no_row_makes_it_fail(properties, task, other):
    live = row(BIG, task, **properties)
    rows = [other, live | {"created_at": other, "description": task}, live | {"properties": other, "task": other}]
    assert build(BUNDLE, rows, complete=False).find_entry(BIG)["id"] == BIG


def test_the_words_of_a_new_models_name_tell_what_it_does():
    rows = [
        {"name": "@cf/a/new-guard-2", "task": {"name": "Text Generation"}},
        {"name": "@cf/a/new-reranker-2", "task": {"name": "Text Classification"}},
        {"name": "@cf/a/new-sentiment", "task": {"name": "Text Classification"}},
    ]
    made = [merge(row, None) for row in parse_rows(rows).values()]
    assert [(model.moderates, model.reranks) for model in made] == [(True, False), (False, True), (False, False)]
