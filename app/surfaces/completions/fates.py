"""What becomes of each field of a completion request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.surfaces.choices import MAX_CHOICES
from app.surfaces.fates import Fate

FATES: Final[Mapping[str, Fate]] = {
    "model": Fate("mapped", "Names the model: its id, its short name or an alias."),
    "prompt": Fate("mapped", "Each text is a message of its own; token ids and an absent prompt are refused."),
    "max_tokens": Fate("mapped", "The token limit, 16 where none is given, reasoning included."),
    "stream": Fate("mapped", "The answer comes as it is generated."),
    "stream_options": Fate("mapped", "`include_usage` adds the usage chunk; `include_obfuscation` has no effect."),
    "user": Fate("mapped", "Sends the same user's prompts to where their beginning is cached; goes no further."),
    "n": Fate(
        "emulated", f"As many calls of the model, at most {MAX_CHOICES} over all prompts; choice i gets `seed` + i."
    ),
    "echo": Fate("emulated", "The prompt stands before the text, in streams too."),
    "stop": Fate("emulated", "The answer ends before the first of these texts, wherever the model stops."),
    "temperature": Fate("relayed", "As it is."),
    "top_p": Fate("relayed", "Zero becomes the least that the model takes."),
    "frequency_penalty": Fate("relayed", "As it is."),
    "presence_penalty": Fate("relayed", "As it is."),
    "seed": Fate("relayed", "Left out where the model does not take this one."),
    "logit_bias": Fate("relayed", "Sent to models that speak OpenAI's shape, left out for others."),
    "logprobs": Fate("dropped", "No model on Workers AI gives them."),
    "best_of": Fate("refused", "More than `n`: without logprobs no answer is known to be better than another."),
    "suffix": Fate("refused", "No model on Workers AI writes what belongs between two texts."),
}
"""Every field of OpenAI's schema. Others, such as ``raw`` and ``lora``, travel on to the model."""
