"""Reading a completion request. What becomes of each field is told in ``app.surfaces.completions.fates``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.request import GenerationRequest, Message
from app.surfaces import fields
from app.surfaces.choices import MAX_CHOICES, read_n, with_choices
from app.surfaces.closing import read_stream
from app.surfaces.completions.fates import FATES
from app.surfaces.depth import shallow
from app.surfaces.sampling import read_sampling

DEFAULT_MAX_TOKENS: Final = 16
"""As at OpenAI."""

MAX_BEST_OF: Final = 20
MAX_LOGPROBS: Final = 5


def read_request(body: Mapping[str, Any]) -> GenerationRequest:
    """Check and translate a completion request.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    model = fields.need(fields.string(body, "model", min_length=1), "model")
    texts = read_prompts(body)
    count = read_n(body)
    if len(texts) * count > MAX_CHOICES:
        reason = f"{len(texts)} prompts with {count} choices each. Expected at most {MAX_CHOICES} choices in all."
        raise fields.invalid(("prompt",), reason, "array_above_max_length")
    _refuse(body, count)
    fields.boolean(body, "echo")
    limit = fields.integer(body, "max_tokens", minimum=1, maximum=fields.MAX_TOKEN_LIMIT)
    conversations = [(Message("user", text),) for text in texts]
    request = GenerationRequest(
        model=model,
        messages=conversations[0],
        stream=read_stream(body),
        max_tokens=DEFAULT_MAX_TOKENS if limit is None else limit,
        knobs=read_sampling(body),
        cache_key=fields.string(body, "user"),
        # A null says nothing, and the upstream refuses it.
        extra={n: shallow(value, (n,)) for n, value in body.items() if n not in FATES and value is not None},
        raw=body,
        # Even 0 asks for the logprobs of the tokens that were chosen.
        dropped=() if fields.integer(body, "logprobs", minimum=0, maximum=MAX_LOGPROBS) is None else ("logprobs",),
    )
    return with_choices(request, count, conversations)


def read_prompts(body: Mapping[str, Any]) -> Sequence[str]:
    """Read ``prompt`` as a list.

    Raises:
        BadRequest: It is absent, or no text. OpenAI takes its absence for the beginning of any document, which is
            nothing that a model made for conversations could continue.
    """
    value = fields.need(body.get("prompt"), "prompt")
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise fields.wrong_type(("prompt",), "one of a string or an array of strings", value)
    if value and all(type(item) is int or type(item) is list for item in value):
        reason = "token ids mean something to the model only whose tokenizer made them. Send the prompt as text."
        raise fields.invalid(("prompt",), reason, "unsupported_value")
    return fields.need(fields.strings(body, "prompt", min_length=1), "prompt")


def echoed(request: GenerationRequest) -> Sequence[str]:
    """The text that stands before each choice's own; empty where the client asked for none."""
    return read_prompts(request.raw) if request.raw.get("echo") is True else ()


def _refuse(body: Mapping[str, Any], count: int) -> None:
    if fields.string(body, "suffix"):
        raise fields.unsupported_parameter(("suffix",), "no model on Workers AI writes what comes between two texts.")
    best_of = fields.integer(body, "best_of", minimum=1, maximum=MAX_BEST_OF)
    if best_of is None:
        return
    if best_of < count:
        raise fields.invalid(("best_of",), f"expected at least as many as 'n', which is {count}, but got {best_of}.")
    if best_of > count:
        reason = "Without logprobs no answer is known to be better than another; ask for them all with 'n'."
        raise fields.unsupported_value(("best_of",), best_of, reason)
