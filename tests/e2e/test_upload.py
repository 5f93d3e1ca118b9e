"""A large file is never in memory. The whole size: ``python -m tests.e2e.upload``."""

import sys

import pytest

from tests.e2e.upload import MIB, measure


@pytest.mark.skipif(sys.platform != "linux", reason="only there the size of another process can be read")
def test_a_large_file_is_never_in_memory():
    uploading, reading, *_ = measure(48 * MIB)
    assert uploading < 16
    assert reading < 16
