"""Every quirk of the list is shown by a test of its number, or has a reason why there is none."""

import re
from pathlib import Path

NOT_OURS = {}


def test_every_quirk_is_tested_or_explained():
    text = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    tested = {int(number) for number in re.findall(r"^(?:async )?def test_q(\d\d)_", text, re.MULTILINE)}
    assert tested | set(NOT_OURS) == set(range(1, 62))
    assert not tested & set(NOT_OURS)
