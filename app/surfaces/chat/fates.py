"""What becomes of each field of a chat request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.surfaces.choices import MAX_CHOICES
from app.surfaces.fates import Fate

FATES: Final[Mapping[str, Fate]] = {
    "model": Fate("mapped", "Names the model: its id, its short name or an alias."),
    "messages": Fate("mapped", "The conversation; text, images and files. Audio is refused by name."),
    "stream": Fate("mapped", "The answer comes as it is generated."),
    "stream_options": Fate("mapped", "`include_usage` adds the usage chunk; `include_obfuscation` has no effect."),
    "max_completion_tokens": Fate("mapped", "The token limit, reasoning included; no more than the window leaves."),
    "max_tokens": Fate("mapped", "The older name of `max_completion_tokens`, which wins where both are given."),
    "tools": Fate("mapped", "Functions, nested or flat; a custom tool is offered as a function with one text field."),
    "tool_choice": Fate("mapped", "All forms; `allowed_tools` leaves only those tools on offer."),
    "functions": Fate("mapped", "The older form of `tools`; answered in the older form, with one call."),
    "function_call": Fate("mapped", "The older form of `tool_choice`."),
    "response_format": Fate("mapped", "Sent in the form that the model takes."),
    "reasoning_effort": Fate("mapped", "The nearest effort that the model has."),
    "prompt_cache_key": Fate("mapped", "Sends the conversation to where its beginning is cached."),
    "user": Fate("mapped", "Stands in for `prompt_cache_key`; goes no further."),
    "n": Fate(
        "emulated", f"As many calls of the model, at most {MAX_CHOICES}; usage is the sum; choice i gets `seed` + i."
    ),
    "stop": Fate("emulated", "The answer ends before the first of these texts, wherever the model stops."),
    "parallel_tool_calls": Fate("emulated", "`false` keeps the first call only."),
    "temperature": Fate("relayed", "As it is."),
    "top_p": Fate("relayed", "Zero becomes the least that the model takes."),
    "frequency_penalty": Fate("relayed", "As it is."),
    "presence_penalty": Fate("relayed", "As it is."),
    "seed": Fate("relayed", "Left out where the model does not take this one."),
    "logit_bias": Fate("relayed", "Sent to models that speak OpenAI's shape, left out for others."),
    "logprobs": Fate("dropped", "`true` is told in the header: no model on Workers AI gives them."),
    "top_logprobs": Fate("dropped", "More than 0 is told in the header, as for `logprobs`."),
    "verbosity": Fate("dropped", "`low` and `high` are told in the header; every model has but one verbosity."),
    "prediction": Fate("dropped", "The answer is the same without it, only slower."),
    "moderation": Fate("dropped", "Neither the request nor the answer is moderated."),
    "store": Fate("dropped", "`true` is told in the header: chat completions are not stored."),
    "service_tier": Fate("dropped", "Other tiers than `auto` and `default` are told in the header; there is one."),
    "audio": Fate("refused", "Only text is generated."),
    "modalities": Fate("refused", "Anything but `text`; only text is generated."),
    "web_search_options": Fate("refused", "Workers AI has no web search."),
    "metadata": Fate("ignored", "It labels stored completions, and none are stored."),
    "safety_identifier": Fate("ignored", "It is for OpenAI's own monitoring."),
    "prompt_cache_options": Fate("ignored", "The upstream's cache has no settings."),
    "prompt_cache_retention": Fate("ignored", "The upstream's cache has no settings."),
}
"""Every field of OpenAI's schema. Others travel on to the model, as far as its shape knows them."""
