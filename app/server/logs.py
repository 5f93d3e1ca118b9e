"""The log of the server itself; an exchange's line is not written here."""

from __future__ import annotations

import logging
import sys

from app.settings import Settings
from app.telemetry.log import JsonFormatter, PrettyFormatter, log_format, quiet_crashes


def configure_logging(settings: Settings) -> None:
    """Send every log line that is not an exchange's to standard error, and what nobody catches, without its text."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format(settings.log_format, sys.stdout) == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(PrettyFormatter())
    quiet_crashes(sys.stderr)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # Both tell of every start in many lines; the command line says it in one.
    for chatty in ("uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # This one quotes malformed forms, whose senders are told what is wrong.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
