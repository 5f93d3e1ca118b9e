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

HEAD: Final = "0003"
"""The newest revision in ``migrations/versions``."""

VERSION_TABLE: Final = "flarelay_version"

INPUT: Final = 0
OUTPUT: Final = 1

_LONGEST_KEY = 200

_POSTGRESQL: Final = "postgresql_where"

metadata = MetaData()


def _partial(name: str, column: Column[Any], sqlite: str, postgresql: str) -> None:
    """An index of some rows. The condition is in the words of the queries: SQLite uses it only for the very same."""
    Index(name, column, sqlite_where=text(sqlite)).info[_POSTGRESQL] = text(postgresql)


def _of_living(name: str, column: Column[Any]) -> None:
    _partial(name, column, "gone = 0", "NOT gone")


def _of_gone(name: str, column: Column[Any]) -> None:
    _partial(name, column, "gone = 1", "gone")


def speak_postgresql() -> None:
    """Tell the indexes what PostgreSQL is to be told of them: SQLAlchemy loads all of its dialect then."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if _POSTGRESQL in index.info:
                index.dialect_kwargs[_POSTGRESQL] = index.info[_POSTGRESQL]


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
_of_living("responses_expiry", responses.c.expires_at)
_of_gone("responses_gone", responses.c.id)

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
_of_living("conversations_expiry", conversations.c.expires_at)
_of_gone("conversations_gone", conversations.c.id)

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

# What is only read together is JSON in ``data``; the id is there as it is, in its column as ``key`` has it.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("previous_digest", LargeBinary),
    Column("previous_until", Double),
    Column("data", LargeBinary, nullable=False),
)
Index("api_keys_revision", api_keys.c.revision)

# How many changes there have been. Whoever counts one holds the row until it is committed, so the order of the numbers
# is the order of the commits, and none is ever seen before a lower one.
revisions = Table(
    "revisions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
)

usage = Table(
    "usage",
    metadata,
    Column("day", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("neurons", Double, nullable=False),
    PrimaryKeyConstraint("day", "caller", "model", "source"),
    # The rows are their own index, which halves them.
    sqlite_with_rowid=False,
)
# What one caller has used of its budget, whatever the others do.
Index("usage_caller", usage.c.caller, usage.c.day)

# The bytes are elsewhere. A row is there before the bytes, and until they are gone.
files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("caller", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("filename", LargeBinary, nullable=False),
    Column("expires_at", Double),
    # All of its bytes are there.
    Column("whole", Boolean, nullable=False),
    Column("gone", Boolean, nullable=False, server_default=false()),
)
Index("files_list", files.c.caller, files.c.created_at, files.c.id)
_of_living("files_expiry", files.c.expires_at)
_of_gone("files_gone", files.c.id)

batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("caller", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("status", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("input_file_id", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    # What is only read together, as JSON.
    Column("details", LargeBinary, nullable=False),
    # Its lines are not asked before; the batch that was served longest ago has the smallest.
    Column("next_at", Double, nullable=False),
    # It has not ended.
    Column("living", Boolean, nullable=False),
    Column("worker", Text),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("purge_at", Double),
    Column("gone", Boolean, nullable=False, server_default=false()),
)
Index("batches_list", batches.c.caller, batches.c.created_at, batches.c.id)
_partial("batches_living", batches.c.next_at, "living = 1", "living")
_of_living("batches_expiry", batches.c.purge_at)
_of_gone("batches_gone", batches.c.id)

batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.id"), nullable=False),
    Column("number", Integer, nullable=False),
    # Where it stands in the input file.
    Column("start", BigInteger, nullable=False),
    Column("length", Integer, nullable=False),
    Column("custom_id", LargeBinary, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("worker", Text),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", Double, nullable=False),
    # It cannot go to the upstream's own queue, or has been there in vain.
    Column("alone", Boolean, nullable=False),
    Column("pack_id", Text),
    Column("result", LargeBinary),
    PrimaryKeyConstraint("batch_id", "number"),
)
Index("batch_lines_state", batch_lines.c.batch_id, batch_lines.c.state, batch_lines.c.lease_until, batch_lines.c.number)

# Lines that went to Cloudflare's own queue together.
batch_packs = Table(
    "batch_packs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("batch_id", Text, ForeignKey("batches.id"), nullable=False),
    Column("account", Text, nullable=False),
    Column("request_id", Text),
    Column("queued_at", Double, nullable=False),
    Column("worker", Text),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", Double, nullable=False),
)
Index("batch_packs_batch", batch_packs.c.batch_id)


def key(name: str) -> str:
    """What stands for a text of a client's making in a column: the text itself, if it is short and plain."""
    if len(name) <= _LONGEST_KEY and name.isascii() and name.isprintable():
        return name
    return "sha256:" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
