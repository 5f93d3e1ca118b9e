import pytest

from app.core.usage import Usage
from app.dialects.usage import UsageCollector


def usage(prompt: object, completion: object, **more: object) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


def collected(*frames: tuple[object, bool]) -> Usage | None:
    collector = UsageCollector()
    for frame, terminal in frames:
        collector.add(frame, terminal=terminal)
    return collector.result


@pytest.mark.parametrize("wild", [1e30, 10**30, 1e308, float("inf"), float("nan"), 10**8 + 1, -(10**30)])
def test_figures_that_cannot_be_are_none(wild) -> None:
    assert collected((usage(wild, wild, neurons=wild), True), (usage(wild, wild), False)) is None
    sound = usage(9, 4, neurons=wild, prompt_tokens_details={"cached_tokens": wild}, reasoning_tokens=wild)
    found = collected((sound, True))
    assert found is not None
    assert (found.prompt_tokens, found.completion_tokens, found.neurons) == (9, 4, None)
    assert not found.cached_tokens
    assert not found.reasoning_tokens


@pytest.mark.parametrize("frame", [None, 7, [], "x", {}, usage(0, 0), usage(None, None), usage("9", True)])
def test_nothing_is_nothing(frame) -> None:
    assert collected((frame, True), (frame, False)) is None


def test_zeros_never_overwrite() -> None:
    assert collected((usage(45, 2), True), (usage(0, 0, neurons=0), True), (None, True)) == Usage(45, 2)


def test_a_repeated_total_adds_what_is_new() -> None:
    found = collected(
        (usage(136, 37, neurons=1.5), True), (usage(136, 37, prompt_tokens_details={"cached_tokens": 64}), True)
    )
    assert found == Usage(136, 37, cached_tokens=64, neurons=1.5)


def test_deltas_with_a_total() -> None:
    deltas = [(usage(0, 1, neurons=0.25), False)] * 5
    assert collected(*deltas, (usage(20, 5, neurons=2.5), True)) == Usage(20, 5, neurons=2.5)


def test_deltas_without_a_total_are_summed() -> None:
    found = collected((usage(20, 1, neurons=0.5), False), *[(usage(0, 1, neurons=0.25), False)] * 4)
    assert found == Usage(20, 5, neurons=1.5, source="summed")


def test_deltas_that_happen_to_grow_are_no_running_total() -> None:
    frames = [(usage(0, count), False) for count in (1, 1, 1, 1, 1, 2)]
    assert collected(*frames) == Usage(0, 7, source="summed")


def test_a_last_delta_with_the_prompt_is_no_total() -> None:
    assert collected(*[(usage(0, 1), False)] * 30, (usage(24, 1), True)) == Usage(24, 31, source="summed")


def test_running_totals() -> None:
    frames = [(usage(33, count, neurons=count / 4), False) for count in (1, 2, 3, 5, 6)]
    assert collected(*frames) == Usage(33, 6, neurons=1.5)
    assert collected(*frames, (usage(33, 7), True)) == Usage(33, 7, neurons=1.5)


def test_a_total_in_the_middle_is_not_the_end() -> None:
    assert collected((usage(33, 1), False), (usage(33, 2), True), (usage(33, 9), False)) == Usage(33, 9)


def test_the_only_figures_are_reported() -> None:
    assert collected((usage(3, 9), False)) == Usage(3, 9)
    assert collected((usage(0, 9), True)) == Usage(0, 9)


@pytest.mark.parametrize(
    "more",
    [
        {"completion_tokens_details": {"reasoning_tokens": 5}},
        {"reasoning_tokens": 5},
        {"completion_tokens_details": {"reasoning_tokens": 0}, "reasoning_tokens": 5},
        {"completion_tokens_details": None, "reasoning_tokens": 5.0},
    ],
)
def test_reasoning_tokens_from_either_place(more) -> None:
    assert collected((usage(3, 9, **more), True)) == Usage(3, 9, reasoning_tokens=5)


def test_the_names_of_the_responses_form() -> None:
    frame = {
        "input_tokens": 3,
        "output_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    assert collected((frame, True)) == Usage(3, 9, cached_tokens=0, reasoning_tokens=0)


def test_strange_figures_do_no_harm() -> None:
    frame = usage(3.0, -5, neurons=float("inf"), prompt_tokens_details=[1], completion_tokens_details="x")
    assert collected((frame, True)) == Usage(3, 0)
