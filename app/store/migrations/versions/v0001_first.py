"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "responses",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("completed_at", sa.Double),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("previous_response_id", sa.Text),
        sa.Column("root_id", sa.Text, nullable=False),
        sa.Column("conversation_id", sa.Text),
        sa.Column("conversation_position", sa.BigInteger),
        sa.Column("background", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("gone", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_index("responses_root", "responses", ["root_id", "expires_at"])
    _create_index_where("responses_expiry", "responses", "expires_at", gone=False)
    _create_index_where("responses_gone", "responses", "id", gone=True)
    op.create_table(
        "response_items",
        sa.Column("response_id", sa.Text, sa.ForeignKey("responses.id"), nullable=False),
        sa.Column("side", sa.SmallInteger, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("item_key", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("response_id", "side", "position"),
    )
    op.create_index("response_items_key", "response_items", ["caller", "item_key"])
    op.create_table(
        "conversations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("metadata", sa.LargeBinary, nullable=False),
        sa.Column("next_position", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("gone", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    _create_index_where("conversations_expiry", "conversations", "expires_at", gone=False)
    _create_index_where("conversations_gone", "conversations", "id", gone=True)
    op.create_table(
        "conversation_items",
        sa.Column("conversation_id", sa.Text, sa.ForeignKey("conversations.id"), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("item_key", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "position"),
        sa.UniqueConstraint("conversation_id", "item_key", name="conversation_items_once"),
    )
    op.create_index("conversation_items_key", "conversation_items", ["caller", "item_key"])
    op.create_table(
        "jobs",
        sa.Column("response_id", sa.Text, sa.ForeignKey("responses.id"), primary_key=True),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("enqueued_at", sa.Double, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
    )
    op.create_index("jobs_order", "jobs", ["enqueued_at"])
    op.create_table(
        "events",
        sa.Column("response_id", sa.Text, sa.ForeignKey("responses.id"), nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("response_id", "first"),
    )
    op.create_index("events_age", "events", ["created_at"])


def downgrade() -> None:
    """Drop all tables."""
    for table in ("events", "jobs", "conversation_items", "conversations", "response_items", "responses"):
        op.drop_table(table)


def _create_index_where(name: str, table: str, column: str, *, gone: bool) -> None:
    # In the words of the queries: SQLite uses a partial index only for the very same condition.
    op.create_index(
        name,
        table,
        [column],
        sqlite_where=sa.text("gone = 1" if gone else "gone = 0"),
        postgresql_where=sa.text("gone" if gone else "NOT gone"),
    )
