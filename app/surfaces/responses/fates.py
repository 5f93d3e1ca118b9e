"""What becomes of each field of a Responses request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.surfaces.fates import Fate

_CHATS = "Chat Completions' name for something that Responses calls otherwise."

FATES: Final[Mapping[str, Fate]] = {
    "model": Fate("mapped", "Names the model: its id, its short name or an alias."),
    "input": Fate("mapped", "The conversation; items that mean nothing to a model are left out and told."),
    "instructions": Fate("mapped", "The first message."),
    "stream": Fate("mapped", "The answer comes as it is generated."),
    "max_output_tokens": Fate("mapped", "The token limit, reasoning included; no more than the window leaves."),
    "text": Fate("mapped", "`format` is sent in the form that the model takes; `verbosity` is dropped and told."),
    "tools": Fate(
        "mapped",
        "Functions, custom tools and namespaces are offered as functions; others are left out and told.",
    ),
    "tool_choice": Fate("mapped", "All forms; `allowed_tools` leaves only those tools on offer."),
    "reasoning": Fate("mapped", "`effort` is the nearest that the model has; `summary` gives the reasoning itself."),
    "prompt_cache_key": Fate("mapped", "Sends the conversation to where its beginning is cached."),
    "include": Fate(
        "mapped", "Encrypted reasoning is ours, sealed; what is not there, such as logprobs, is told in the header."
    ),
    "parallel_tool_calls": Fate("emulated", "`false` keeps the first call only."),
    "temperature": Fate("relayed", "As it is."),
    "top_p": Fate("relayed", "Zero becomes the least that the model takes."),
    "frequency_penalty": Fate("relayed", "As it is."),
    "presence_penalty": Fate("relayed", "As it is."),
    "metadata": Fate("echoed", "It labels stored responses."),
    "user": Fate("echoed", "It goes no further."),
    "safety_identifier": Fate("echoed", "It is for OpenAI's own monitoring."),
    "max_tool_calls": Fate("echoed", "It limits tools that OpenAI runs, and there are none."),
    "truncation": Fate("dropped", "`auto` is told in the header: what does not fit into the window is refused."),
    "top_logprobs": Fate("dropped", "More than 0 is told in the header: no model on Workers AI gives them."),
    "store": Fate("mapped", "Answers are kept unless it is `false`; with no store, `true` is told in the header."),
    "service_tier": Fate("dropped", "Other tiers than `auto` and `default` are told in the header; there is one."),
    "context_management": Fate("dropped", "Nothing is compacted unasked; `POST /v1/responses/compact` does it."),
    "moderation": Fate("dropped", "Neither the request nor the answer is moderated."),
    "image": Fate("dropped", "Only text is generated."),
    # Relayed, they would get in the way of the translation.
    "messages": Fate("dropped", _CHATS),
    "max_tokens": Fate("dropped", _CHATS),
    "max_completion_tokens": Fate("dropped", _CHATS),
    "response_format": Fate("dropped", _CHATS),
    "reasoning_effort": Fate("dropped", _CHATS),
    "verbosity": Fate("dropped", _CHATS),
    "functions": Fate("dropped", _CHATS),
    "function_call": Fate("dropped", _CHATS),
    "logprobs": Fate("dropped", _CHATS),
    "n": Fate("dropped", "There is one answer to one request."),
    "modalities": Fate("dropped", "Only text is generated."),
    "audio": Fate("dropped", "Only text is generated."),
    "web_search_options": Fate("dropped", "Workers AI has no web search."),
    "background": Fate("mapped", "The work goes on without its client; the answer is fetched later."),
    "previous_response_id": Fate("mapped", "What came before is put in front; instructions are not."),
    "conversation": Fate("mapped", "Its items come first; input and output are added to it."),
    "prompt": Fate("refused", "Prompt templates are not stored; send their text."),
    "stream_options": Fate("ignored", "`include_obfuscation` has no effect."),
    "client_metadata": Fate("ignored", "It is for OpenAI's own bookkeeping."),
    "access_programs": Fate("ignored", "It is for OpenAI's own bookkeeping."),
    "prompt_cache_options": Fate("ignored", "The upstream's cache has no settings."),
    "prompt_cache_retention": Fate("ignored", "The upstream's cache has no settings."),
    "prompt_cache_diagnostics": Fate("ignored", "The upstream's cache tells nothing of itself."),
}
"""Every field of OpenAI's schema, and Chat Completions' names for them. Others travel on to the model."""
