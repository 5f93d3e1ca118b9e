"""The name for a value parsed from JSON or about to become it."""

from typing import Any, TypeAlias

Json: TypeAlias = Any
