"""Moderation on Workers AI: Llama Guard, which answers in a word and a list of codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.errors import UpstreamBroken
from app.core.model import Model
from app.core.moderation import ModerationRequest, Verdict
from app.core.task import Call, Given, Understood
from app.core.upstream import UpstreamRequest
from app.core.usage import Usage, estimate_tokens, summed
from app.dialects.scalars import amount_of, count_of

MAX_TOKENS: Final = 128
"""The longest verdict names fourteen hazards."""

TEMPLATE_TOKENS: Final = 220
"""What the model's own instructions add to every text, roughly."""

VERDICT_TOKENS: Final = 8

_UNSAFE = re.compile(r"unsafe(?:\s+(?P<codes>S\d{1,2}(?:\s*,\s*S\d{1,2})*))?", re.IGNORECASE)
_MARK = re.compile(r"<(?=\|)")


class ModerationDialect:
    """What is spoken to moderation models."""

    name = "moderation"
    task = "Text Generation"
    verb = "moderate"
    fields: Mapping[str, str] = {"messages": "input"}

    def serves(self, model: Model) -> bool:
        """This is spoken to a model."""
        return model.moderates

    def write(self, request: ModerationRequest, model: Model) -> Sequence[Call]:
        """Translate a request: one call for each text, so that each has a verdict of its own."""
        return [
            Call(
                UpstreamRequest(
                    f"/run/{model.id}",
                    {
                        # A text that holds the marks of the model's template could put a verdict into its mouth.
                        "messages": [{"role": "user", "content": _MARK.sub("< ", text)}],
                        "max_tokens": MAX_TOKENS,
                        "temperature": 0,
                    },
                    stream=False,
                    max_tokens=MAX_TOKENS,
                ),
                _estimated(text),
            )
            for text in request.texts
        ]

    def read(
        self,
        request: ModerationRequest,
        model: Model,  # noqa: ARG002 - all of them answer alike
        answers: Sequence[Given],
    ) -> Understood[Sequence[Verdict]]:
        """Understand the answers.

        Raises:
            UpstreamBroken: One of them is no verdict. It is never taken for "safe".
        """
        verdicts = [_verdict(given.result) for given in answers]
        if len(verdicts) != len(request.texts):
            raise _unreadable()
        usages = [_usage(given.result, text) for given, text in zip(answers, request.texts, strict=True)]
        return Understood(verdicts, summed(usages))


def _estimated(text: str) -> Usage:
    return Usage(TEMPLATE_TOKENS + estimate_tokens(text), VERDICT_TOKENS, source="estimated")


def _verdict(result: Any) -> Verdict:  # noqa: ANN401 - whatever the upstream sent
    said = result.get("response") if isinstance(result, dict) else None
    if isinstance(said, dict):
        return _from_object(said)
    if not isinstance(said, str):
        raise _unreadable()
    said = said.strip()
    if said.lower() == "safe":
        return Verdict(safe=True)
    found = _UNSAFE.fullmatch(said)
    if found is None:
        raise _unreadable()
    codes = found["codes"] or ""
    return Verdict(safe=False, hazards=tuple(code.strip().upper() for code in codes.split(",") if code))


def _from_object(said: Mapping[str, Any]) -> Verdict:
    safe, codes = said.get("safe"), said.get("categories") or []
    if not isinstance(safe, bool) or not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise _unreadable()
    if safe and codes:
        raise _unreadable()
    return Verdict(safe, tuple(code.strip().upper() for code in codes))


def _usage(result: Mapping[str, Any], text: str) -> Usage:
    told = result.get("usage")
    told = told if isinstance(told, dict) else {}
    prompt, completion = count_of(told.get("prompt_tokens")), count_of(told.get("completion_tokens"))
    if not prompt:
        return _estimated(text)
    return Usage(prompt, completion, neurons=amount_of(told.get("neurons")) or None)


def _unreadable() -> UpstreamBroken:
    return UpstreamBroken("Workers AI sent a verdict that cannot be read, so nothing is known of the input.")
