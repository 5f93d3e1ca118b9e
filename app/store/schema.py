"""The tables, as they are at the newest revision.

Everything that can be large or odd is JSON in bytes. Texts that a client makes up are never in a column as they are:
PostgreSQL knows no NUL in a text and no long text in an index, so ``key`` stands for them.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

HEAD: Final = "0001"
"""The newest revision in ``migrations/versions``."""

VERSION_TABLE: Final = "flarelay_version"

INPUT: Final = 0
OUTPUT: Final = 1

_LONGEST_KEY = 200

# In the words of the queries: SQLite uses a partial index only for the very same condition.
_LIVING: Final[dict[str, Any]] = {"sqlite_where": text("gone = 0"), "postgresql_where": text("NOT gone")}
_GONE: Final[dict[str, Any]] = {"sqlite_where": text("gone = 1"), "postgresql_where": text("gone")}

metadata = MetaData()

responses = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("caller", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("completed_at", Double),
    Column("status", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("previous_response_id", Text),
    # The first response of the chain: a chain is kept as long as any of it lives, and one look at an index tells.
    Column("root_id", Text, nullable=False),
    Column("conversation_id", Text),
    # Where its items begin in the conversation; what stands before came before it.
    Column("conversation_position", BigInteger),
    Column("background", Boolean, nullable=False),
    Column("expires_at", Double),
    # Deleted as far as anybody can see; the rows go in small steps.
    Column("gone", Boolean, nullable=False, server_default=false()),
)
Index("responses_root", responses.c.root_id, responses.c.expires_at)
Index("responses_expiry", responses.c.expires_at, **_LIVING)
Index("responses_gone", responses.c.id, **_GONE)

response_items = Table(
    "response_items",
    metadata,
    Column("response_id", Text, ForeignKey("responses.id"), nullable=False),
    Column("side", SmallInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("caller", Text, nullable=False),
    Column("item_key", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("response_id", "side", "position"),
)
Index("response_items_key", response_items.c.caller, response_items.c.item_key)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("caller", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("metadata", LargeBinary, nullable=False),
    Column("next_position", BigInteger, nullable=False),
    Column("expires_at", Double),
    Column("gone", Boolean, nullable=False, server_default=false()),
)
Index("conversations_expiry", conversations.c.expires_at, **_LIVING)
Index("conversations_gone", conversations.c.id, **_GONE)

conversation_items = Table(
    "conversation_items",
    metadata,
    Column("conversation_id", Text, ForeignKey("conversations.id"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("caller", Text, nullable=False),
    Column("item_key", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("conversation_id", "position"),
    UniqueConstraint("conversation_id", "item_key", name="conversation_items_once"),
)
Index("conversation_items_key", conversation_items.c.caller, conversation_items.c.item_key)

# A row is the right to end a response: whoever deletes it has won.
jobs = Table(
    "jobs",
    metadata,
    Column("response_id", Text, ForeignKey("responses.id"), primary_key=True),
    Column("caller", Text, nullable=False),
    Column("enqueued_at", Double, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("worker", Text),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", Double, nullable=False),
)
Index("jobs_order", jobs.c.enqueued_at)

# One row for a batch of events: a row for each would cost more than the event.
events = Table(
    "events",
    metadata,
    Column("response_id", Text, ForeignKey("responses.id"), nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("response_id", "first"),
)
Index("events_age", events.c.created_at)


def key(name: str) -> str:
    """What stands for a text of a client's making in a column: the text itself, if it is short and plain."""
    if len(name) <= _LONGEST_KEY and name.isascii() and name.isprintable():
        return name
    return "sha256:" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
