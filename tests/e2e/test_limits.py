"""Limits as a client meets them: exact, told in OpenAI's headers, and understood by the SDK."""

import openai
import pytest
from openai import OpenAI

from app.main import create_app
from tests.conftest import settings_for
from tests.serving import serving

CHAT = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Hello"}]}


def client_of(address, retries=0):
    return OpenAI(base_url=f"{address}/v1", api_key="sk-one-0123456789abcdef", max_retries=retries)


def limited(emulator, **limits):
    return serving(
        create_app(settings_for(emulator, api_keys="sk-one-0123456789abcdef,sk-two-0123456789abcdef", **limits))
    )


@pytest.mark.parametrize("stream", [False, True])
def test_requests_per_minute(emulator, stream):
    with limited(emulator, requests_per_minute=3) as address, client_of(address) as client:
        for left in (2, 1, 0):
            answer = client.chat.completions.with_raw_response.create(**CHAT, stream=stream)
            answer.http_response.read()
            assert answer.headers["x-ratelimit-limit-requests"] == "3"
            assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
            assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**CHAT, stream=stream)
        error = caught.value
        assert (error.type, error.code) == ("requests", "rate_limit_exceeded")
        assert "Limit 3, Used 3, Requested 1" in error.message
        assert 0 < int(error.response.headers["retry-after-ms"]) <= 20_000
        other = OpenAI(base_url=f"{address}/v1", api_key="sk-two-0123456789abcdef", max_retries=0)
        assert other.chat.completions.create(**CHAT).choices
        other.close()


def test_tokens_per_minute_are_settled_with_what_was_used(emulator):
    with limited(emulator, tokens_per_minute=5000) as address, client_of(address) as client:
        answer = client.chat.completions.with_raw_response.create(**CHAT, max_completion_tokens=4000)
        used = answer.parse().usage.total_tokens
        left = int(answer.headers["x-ratelimit-remaining-tokens"])
        assert left < 1100
        again = client.chat.completions.with_raw_response.create(**CHAT, max_completion_tokens=1000)
        assert int(again.headers["x-ratelimit-remaining-tokens"]) >= 5000 - used - 1100
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**CHAT, max_completion_tokens=6000)
        assert "too large" in caught.value.message.lower()
        assert caught.value.response.headers["x-should-retry"] == "false"


def test_the_sdks_own_retry_succeeds(emulator):
    stalled = {**CHAT, "model": "@cf/emulator/stall"}
    with limited(emulator, requests_per_minute=120, concurrency=1) as address, client_of(address, retries=2) as client:
        with client.chat.completions.create(**stalled, stream=True) as stream:
            next(iter(stream))
            with pytest.raises(openai.RateLimitError):
                client.with_options(max_retries=0).chat.completions.create(**CHAT)
        assert client.chat.completions.create(**CHAT).choices
