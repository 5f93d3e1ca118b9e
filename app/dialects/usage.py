"""The figures of one answer, gathered from frames that disagree on what a figure means.

Some models report a total at the end, twice, the second time all zeros; some a running total in every frame; some
only what each frame cost. So three things are kept: the largest total of the terminal frames, and the sum and the
maximum over the others. Which of them is the answer shows only at the end.
"""

from __future__ import annotations

from typing import Any

from app.core.usage import Usage
from app.dialects.scalars import amount_of, count_of


class _Tally:
    """Figures as they add up: ``None`` for those that nobody has mentioned."""

    __slots__ = ("cached", "completion", "neurons", "prompt", "reasoning")

    def __init__(self) -> None:
        self.prompt = 0
        self.completion = 0
        self.cached: int | None = None
        self.reasoning: int | None = None
        self.neurons: float | None = None


class UsageCollector:
    """Hears every usage object of one answer; constant work per frame."""

    __slots__ = ("_first", "_frames", "_grows", "_last", "_most", "_sum", "_total")

    def __init__(self) -> None:
        self._total: _Tally | None = None
        self._sum = _Tally()
        self._most = _Tally()
        self._frames = 0
        self._first = 0
        self._last = 0
        self._grows = True

    def add(self, usage: Any, *, terminal: bool) -> None:  # noqa: ANN401 - whatever the upstream sent
        """Take one usage object.

        Args:
            usage: As it came; what is not an object, or holds only zeros and nulls, is ignored.
            terminal: It came in a frame without content.
        """
        if type(usage) is not dict:
            return
        get = usage.get
        prompt = count_of(get("prompt_tokens")) or count_of(get("input_tokens"))
        completion = count_of(get("completion_tokens")) or count_of(get("output_tokens"))
        if not prompt and not completion:
            return
        cached, reasoning = _details(usage)
        neurons = amount_of(get("neurons")) or None
        # A frame without content that does not know the prompt is one more delta, not a total.
        if terminal and prompt:
            if self._total is None:
                self._total = _Tally()
            _raise(self._total, prompt, completion, cached, reasoning, neurons)
            return
        self._frames += 1
        if self._frames == 1:
            self._first = completion
        elif completion < self._last:
            self._grows = False
        self._last = completion
        _raise(self._most, prompt, completion, cached, reasoning, neurons)
        _add(self._sum, prompt, completion, cached, reasoning, neurons)

    @property
    def result(self) -> Usage | None:
        """What it all comes to; ``None`` when no figures came."""
        total = self._total
        if not self._frames:
            return None if total is None else _usage(total, total, summed=False)
        running = self._is_running()
        content = self._most if running else self._sum
        if total is not None and total.completion >= self._most.completion:
            # Deltas whose last frame happens to be without content look like a total that is far too small.
            if running or total.completion * 2 >= self._sum.completion:
                return _usage(total, content, summed=False)
            _add(self._sum, total.prompt, total.completion, total.cached, total.reasoning, total.neurons)
            return _usage(self._sum, self._sum, summed=True)
        if total is not None and not content.prompt:
            content.prompt = total.prompt
        return _usage(content, content, summed=not running)

    def _is_running(self) -> bool:
        """The frames' figures are running totals: they only grow, by about a token per frame or more."""
        if self._frames == 1:
            return True
        return self._grows and self._last > self._first and self._last * 4 >= self._frames * 3


def _details(usage: dict[str, Any]) -> tuple[int | None, int | None]:
    prompt = usage.get("prompt_tokens_details")
    if prompt is None:
        prompt = usage.get("input_tokens_details")
    cached = prompt.get("cached_tokens") if type(prompt) is dict else None
    completion = usage.get("completion_tokens_details")
    if completion is None:
        completion = usage.get("output_tokens_details")
    reasoning = completion.get("reasoning_tokens") if type(completion) is dict else None
    if not reasoning:
        reasoning = usage.get("reasoning_tokens", reasoning)
    return None if cached is None else count_of(cached), None if reasoning is None else count_of(reasoning)


def _raise(
    tally: _Tally, prompt: int, completion: int, cached: int | None, reasoning: int | None, neurons: float | None
) -> None:
    tally.prompt = max(prompt, tally.prompt)
    tally.completion = max(completion, tally.completion)
    if cached is not None and (tally.cached is None or cached > tally.cached):
        tally.cached = cached
    if reasoning is not None and (tally.reasoning is None or reasoning > tally.reasoning):
        tally.reasoning = reasoning
    if neurons is not None and (tally.neurons is None or neurons > tally.neurons):
        tally.neurons = neurons


def _add(
    tally: _Tally, prompt: int, completion: int, cached: int | None, reasoning: int | None, neurons: float | None
) -> None:
    tally.prompt += prompt
    tally.completion += completion
    if cached is not None:
        tally.cached = cached + (tally.cached or 0)
    if reasoning is not None:
        tally.reasoning = reasoning + (tally.reasoning or 0)
    if neurons is not None:
        tally.neurons = neurons + (tally.neurons or 0.0)


def _usage(tally: _Tally, beside: _Tally, *, summed: bool) -> Usage:
    """Make the result; what the chosen figures do not mention comes from the others."""
    return Usage(
        tally.prompt,
        tally.completion,
        tally.cached if tally.cached is not None else beside.cached,
        tally.reasoning if tally.reasoning is not None else beside.reasoning,
        tally.neurons if tally.neurons is not None else beside.neurons,
        "summed" if summed else "reported",
    )
