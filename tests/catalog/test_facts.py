import pytest

from app.catalog.catalogue import build
from app.catalog.facts import bundled, parse
from app.core.model import Price, ReasoningEfforts

MODELS = bundled().models


def test_all_models_are_bundled_and_the_first_are_gpt_oss():
    assert len(MODELS) == 74
    assert list(MODELS)[:2] == ["@cf/openai/gpt-oss-120b", "@cf/openai/gpt-oss-20b"]
    assert all(model.id == model_id for model_id, model in MODELS.items())


def test_gpt_oss_takes_a_mixture_of_both_schemas():
    model = MODELS["@cf/openai/gpt-oss-20b"]
    assert (model.shape, model.json_schema, model.dialect) == ("hybrid", "bare", "chat")
    assert model.reasoning_efforts == ReasoningEfforts(("low", "medium", "high"), "medium", mandatory=True)
    assert model.neurons_per_million == (18182, 27273)
    assert model.created == 1754390849


@pytest.mark.parametrize(
    ("name", "shape", "json_schema"),
    [
        ("@cf/zai-org/glm-5.2", "openai", "envelope"),
        ("@cf/meta/llama-3.3-70b-instruct-fp8-fast", "legacy", "bare"),
        ("@cf/qwen/qwen3-30b-a3b-fp8", "legacy", "bare"),
        ("@cf/swiss-ai/apertus-v1.5-8b", "legacy", "bare"),
        ("@cf/mistralai/mistral-small-3.1-24b-instruct", "legacy", "none"),
        ("@cf/meta/llama-3.2-11b-vision-instruct", "legacy", "none"),
    ],
)
def test_schemas_differ_by_model(name, shape, json_schema):
    assert (MODELS[name].shape, MODELS[name].json_schema) == (shape, json_schema)


def test_windows_are_those_that_are_enforced():
    assert MODELS["@cf/google/gemma-4-26b-a4b-it"].context_window == 131072
    assert MODELS["@cf/zai-org/glm-5.2"].context_window == 256000
    assert bundled().enforced_windows == {"@cf/google/gemma-4-26b-a4b-it", "@cf/zai-org/glm-5.2"}


def test_two_models_think_inline_and_seven_need_a_paid_plan():
    assert {model.short_name for model in MODELS.values() if model.thinks_inline} == {
        "qwq-32b",
        "deepseek-r1-distill-qwen-32b",
    }
    assert sum(model.requires_paid for model in MODELS.values()) == 7


def test_moderation_decisions_and_other_tasks_are_no_chat():
    silent = {m.short_name for m in MODELS.values() if m.task == "Text Generation" and not m.chat}
    assert silent == {"llama-guard-3-8b", "clef", "clef-flash", "clef-omni"}
    assert all(m.task == "Text Generation" for m in MODELS.values() if m.chat)
    assert sum(model.chat for model in MODELS.values()) == 34


def test_prices_are_per_token_or_per_unit():
    assert MODELS["@cf/zai-org/glm-5.2"].price == Price(1.4, 4.4, 0.26)
    assert MODELS["@cf/openai/whisper"].price == Price(units=(("per audio minute", 0.0005),))
    assert MODELS["@cf/openai/whisper"].neurons_per_million is None
    assert MODELS["@cf/openai/whisper-tiny-en"].price == Price()


def test_neurons_follow_from_prices():
    for model in MODELS.values():
        if model.neurons_per_million is not None:
            assert model.price.input is not None
            assert model.neurons_per_million[0] == pytest.approx(model.price.input / 0.000011, abs=1)


def test_a_fact_that_is_left_out_has_a_default():
    found = parse(b'[{"id":"@cf/a/b","task":"Translation","chat":false}]').models["@cf/a/b"]
    assert (found.json_schema, found.context_window, found.created, found.price) == ("none", None, 0, Price())


@pytest.mark.parametrize(
    ("name", "abilities"),
    [
        ("bge-base-en-v1.5", {"embeddings"}),
        ("bge-m3", {"embeddings", "reranking"}),
        ("embeddinggemma-300m", {"embeddings", "shorter_dimensions"}),
        ("qwen3-embedding-0.6b", {"embeddings", "shorter_dimensions"}),
        ("bge-reranker-base", {"reranking"}),
        ("llama-guard-3-8b", {"moderation"}),
        ("gpt-oss-120b", set()),
    ],
)
def test_models_of_other_tasks_say_what_they_can_do(name, abilities):
    told = build(bundled()).find_entry(name)["capabilities"]
    assert {"embeddings", "shorter_dimensions", "moderation", "reranking"} & set(told) == abilities
