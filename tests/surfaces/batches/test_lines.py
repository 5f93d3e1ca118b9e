"""A batch's input file, cut and checked."""

import json

import pytest

from app.core.errors import NotFound
from app.surfaces.batches.lines import MAX_PROBLEMS, LineChecker, LineCutter

ENDPOINT = "/v1/chat/completions"
FILE = b'\xef\xbb\xbf{"a":1}\r\n\n  \r\n"\xe2\x80\xa8"\n' + b"x" * 60 + b"\n{}"
LINES = [(1, 3, b'{"a":1}'), (4, 17, b'"\xe2\x80\xa8"'), (5, 23, None), (6, 84, b"{}")]


def cut(*blocks):
    cutter = LineCutter(50)
    return [line for block in blocks for line in cutter.feed(block)] + cutter.close()


def test_whole_split_and_byte_by_byte():
    assert cut(FILE) == LINES
    assert cut(*(FILE[at : at + 1] for at in range(len(FILE)))) == LINES
    for at in range(len(FILE) + 1):
        assert cut(FILE[:at], FILE[at:]) == LINES


def test_every_line_is_where_it_is_said_to_be():
    for _, start, data in cut(FILE):
        if data is not None:
            assert FILE[start : start + len(data)] == data


def known(model):
    if model != "gpt":
        raise NotFound(f"The model '{model}' does not exist.", code="model_not_found")


def check(*entries, max_lines=1000):
    checker = LineChecker(ENDPOINT, known, max_lines)
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in entries).encode()
    good = [checker.check(line) for line in cut_all(text)]
    checker.finish()
    return checker, good


def cut_all(data):
    cutter = LineCutter(10_000)
    return [*cutter.feed(data), *cutter.close()]


def entry(custom_id="a", **changes):
    body = {"model": "gpt", "messages": []}
    made = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body, **changes}
    return {name: value for name, value in made.items() if value is not ...}


def test_good_lines_are_good():
    checker, good = check(entry("a"), entry("ä\u2028", method="post"), entry("c" * 512))
    assert [one.custom_id for one in good] == ["a", "ä\u2028", "c" * 512]
    assert (checker.problems, checker.total, checker.model) == ([], 3, "gpt")


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        ("{", "invalid_json_line", None),
        ("[]", "invalid_json_line", None),
        ('{"a": NaN}', "invalid_json_line", None),
        (entry(custom_id=...), "missing_required_parameter", "custom_id"),
        (entry(custom_id=1), "invalid_request", "custom_id"),
        (entry(custom_id=""), "invalid_request", "custom_id"),
        (entry(custom_id="x" * 513), "invalid_request", "custom_id"),
        (entry("first"), "duplicate_custom_id", "custom_id"),
        (entry(method=...), "missing_required_parameter", "method"),
        (entry(method="GET"), "invalid_method", "method"),
        (entry(url=...), "missing_required_parameter", "url"),
        (entry(url="/v1/embeddings"), "url_mismatch", "url"),
        (entry(url="https://example.com/v1/chat/completions"), "url_mismatch", "url"),
        (entry(body=...), "missing_required_parameter", "body"),
        (entry(body=[]), "invalid_request", "body"),
        (entry(body={}), "missing_required_parameter", "body.model"),
        (entry(body={"model": 5}), "invalid_request", "body.model"),
        (entry(body={"model": "other"}), "model_mismatch", "body.model"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(line, code, param):
    checker, good = check(entry("first"), line, entry("last"))
    (found,) = checker.problems
    assert (found["code"], found["param"], found["line"]) == (code, param, 2)
    assert found["message"]
    assert [one is None for one in good] == [False, True, False]


def test_a_model_that_is_not_there_is_told():
    checker, _ = check(entry(body={"model": "none"}))
    assert (checker.problems[0]["code"], checker.problems[0]["line"]) == ("model_not_found", 1)


def test_files_with_nothing_or_too_much_in_them():
    checker, _ = check("", "  ")
    assert [one["code"] for one in checker.problems] == ["empty_file"]
    checker, _ = check(entry("a"), entry("b"), entry("c"), max_lines=2)
    assert [one["code"] for one in checker.problems] == ["too_many_tasks"]
    assert checker.hopeless


def test_the_errors_that_are_told_are_bounded():
    checker, _ = check(*["{"] * MAX_PROBLEMS)
    assert checker.hopeless
