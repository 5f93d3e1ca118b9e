"""What may stand in a label: words of a fixed set each, so that no client can make series, or write into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from app.catalog.catalogue import Catalogue
from app.dialects.errors import CODES
from app.dialects.knobs import RANGES
from app.surfaces.audio.fates import SPEECH_FATES, TRANSCRIPTION_FATES, TRANSLATION_FATES
from app.surfaces.chat.fates import FATES as CHAT_FATES
from app.surfaces.completions.fates import FATES as COMPLETIONS_FATES
from app.surfaces.embeddings.fates import FATES as EMBEDDINGS_FATES
from app.surfaces.images.fates import EDIT_FATES, GENERATION_FATES, VARIATION_FATES
from app.surfaces.moderations.fates import FATES as MODERATIONS_FATES
from app.surfaces.rerank.fates import FATES as RERANK_FATES
from app.surfaces.responses.fates import FATES as RESPONSES_FATES

OTHER: Final = "other"
"""Stands for all that is not in the set."""

NONE: Final = "none"
"""Stands for what there was not."""

ERROR_CODES: Final = frozenset(
    {
        "account_blocked",
        "array_above_max_length",
        "array_below_min_length",
        "content_policy_violation",
        "context_length_exceeded",
        "decimal_above_max_value",
        "decimal_below_min_value",
        "empty_array",
        "empty_file",
        "empty_string",
        "file_not_found",
        "file_too_large",
        "insufficient_quota",
        "integer_above_max_value",
        "integer_below_min_value",
        "invalid_api_key",
        "invalid_file",
        "invalid_function_parameters",
        "invalid_header",
        "invalid_image",
        "invalid_image_url",
        "invalid_json_schema",
        "invalid_language_format",
        "invalid_request_error",
        "invalid_structured_output",
        "invalid_type",
        "invalid_value",
        "item_not_found",
        "json_mode_not_met",
        "method_not_supported",
        "missing_required_parameter",
        "model_agreement_required",
        "model_not_allowed",
        "model_not_found",
        "model_not_supported",
        "model_requires_paid_plan",
        "mutually_exclusive_parameters",
        "object_above_max_properties",
        "permission_denied",
        "previous_response_not_found",
        "rate_limit_exceeded",
        "requests",
        "server_error",
        "server_is_overloaded",
        "service_unavailable_error",
        "string_above_max_length",
        "string_below_min_length",
        "tokens",
        "total_timeout",
        "unknown_parameter",
        "unsupported_file",
        "unsupported_parameter",
        "unsupported_value",
        "upstream_empty",
        "upstream_error",
        "upstream_not_found",
        "upstream_timeout",
        "upstream_truncated",
        "upstream_unauthorized",
        "upstream_unreachable",
        "websocket_connection_limit_reached",
    }
)
"""The codes of errors, and the types of those that have no code."""

_FATES: Final = (
    *(CHAT_FATES, COMPLETIONS_FATES, RESPONSES_FATES, EMBEDDINGS_FATES, MODERATIONS_FATES, RERANK_FATES),
    *(SPEECH_FATES, TRANSCRIPTION_FATES, TRANSLATION_FATES, GENERATION_FATES, EDIT_FATES, VARIATION_FATES),
)
_FIELDS: Final = frozenset({*RANGES, *(field for fates in _FATES for field in fates)})
_UPSTREAM_CODES: Final = {code: str(code) for code in CODES}


def error_code(code: str) -> str:
    """The label of an error's code."""
    return code if code in ERROR_CODES else OTHER


def upstream_code(code: int) -> str:
    """The label of one of Cloudflare's codes."""
    return _UPSTREAM_CODES.get(code, OTHER)


def fields(paths: Iterable[str]) -> set[str]:
    """The labels of fields: ``tools[2].type`` is ``tools``."""
    heads = {path.partition(".")[0].partition("[")[0] for path in paths}
    return {head if head in _FIELDS else OTHER for head in heads}


class Models:
    """The labels of models: their ids while they are in the catalogue.

    Args:
        catalogue: The catalogue as it is now.
    """

    def __init__(self, catalogue: Callable[[], Catalogue]) -> None:
        self._catalogue = catalogue
        self._seen: Catalogue | None = None
        self._ids: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """How many models there are."""
        return len(self._known())

    def label(self, model_id: str | None) -> str:
        """The label of one model."""
        if model_id is None:
            return NONE
        return model_id if model_id in self._known() else OTHER

    def _known(self) -> frozenset[str]:
        catalogue = self._catalogue()
        if catalogue is not self._seen:
            self._seen = catalogue
            self._ids = frozenset(model.id for model in (*catalogue.models(), *catalogue.aliases().values()))
        return self._ids


class Callers:
    """The labels of callers: the first so many by their public ids, all others together.

    Args:
        most: How many are told apart; 0 for none.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, caller_id: str) -> str:
        """The label of one caller."""
        if caller_id not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(caller_id)
        return caller_id
