from collections import Counter

import pytest

from app.catalog.facts import bundled
from app.catalog.rate_limits import requests_per_minute
from app.core.model import Model

MODELS = bundled().models


@pytest.mark.parametrize(
    ("model_id", "count"),
    [
        ("@cf/openai/gpt-oss-120b", 300),
        ("@cf/zai-org/glm-5.2", 20),
        ("@cf/baai/bge-small-en-v1.5", 3_000),
        ("@cf/baai/bge-large-en-v1.5", 1_500),
        ("@cf/baai/bge-reranker-base", 2_000),
        ("@cf/openai/whisper", 720),
        ("@cf/black-forest-labs/flux-1-schnell", 720),
        ("@cf/runwayml/stable-diffusion-v1-5-img2img", 1_500),
        ("@cf/meta/m2m100-1.2b", 720),
        ("@cf/facebook/detr-resnet-50", 3_000),
    ],
)
def test_limits_go_by_task_with_exceptions(model_id, count):
    assert requests_per_minute(MODELS[model_id]) == count


def test_every_model_that_needs_a_paid_plan_has_the_small_limit_and_no_other():
    small = {model.id for model in MODELS.values() if requests_per_minute(model) == 20}
    assert small == {model.id for model in MODELS.values() if model.requires_paid}
    assert len(small) == 7


def test_the_exceptions_are_models_that_exist():
    # An exception for a mistyped id would be none: its task's usual limit would hold.
    embeddings = Counter(requests_per_minute(m) for m in MODELS.values() if m.task == "Text Embeddings")
    images = Counter(requests_per_minute(m) for m in MODELS.values() if m.task == "Text-to-Image")
    assert (embeddings[1_500], images[1_500]) == (1, 1)


def test_a_model_of_which_nothing_is_known_has_the_least_of_the_usual_limits():
    assert requests_per_minute(Model("@cf/new/model")) == 300
    assert requests_per_minute(Model("@cf/new/voice", task="Text-to-Speech")) == 300


def test_what_is_set_for_an_account_goes_before_what_is_published():
    own = {"@cf/zai-org/glm-5.2": 50, "@cf/baai/bge-large-en-v1.5": 6_000}
    assert requests_per_minute(MODELS["@cf/zai-org/glm-5.2"], own) == 50
    assert requests_per_minute(MODELS["@cf/baai/bge-large-en-v1.5"], own) == 6_000
    assert requests_per_minute(MODELS["@cf/moonshotai/kimi-k2.6"], own) == 20
