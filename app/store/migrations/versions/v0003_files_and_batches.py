"""Files, and batches with their lines."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LIVING: dict[str, Any] = {"sqlite_where": sa.text("gone = 0"), "postgresql_where": sa.text("NOT gone")}
_GONE: dict[str, Any] = {"sqlite_where": sa.text("gone = 1"), "postgresql_where": sa.text("gone")}


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "files",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("filename", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("whole", sa.Boolean, nullable=False),
        sa.Column("gone", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_index("files_list", "files", ["caller", "created_at", "id"])
    op.create_index("files_expiry", "files", ["expires_at"], **_LIVING)
    op.create_index("files_gone", "files", ["id"], **_GONE)
    op.create_table(
        "batches",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("input_file_id", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("completed", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("details", sa.LargeBinary, nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
        sa.Column("living", sa.Boolean, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("purge_at", sa.Double),
        sa.Column("gone", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_index("batches_list", "batches", ["caller", "created_at", "id"])
    op.create_index(
        "batches_living",
        "batches",
        ["next_at"],
        sqlite_where=sa.text("living = 1"),
        postgresql_where=sa.text("living"),
    )
    op.create_index("batches_expiry", "batches", ["purge_at"], **_LIVING)
    op.create_index("batches_gone", "batches", ["id"], **_GONE)
    op.create_table(
        "batch_lines",
        sa.Column("batch_id", sa.Text, sa.ForeignKey("batches.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("custom_id", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("alone", sa.Boolean, nullable=False),
        sa.Column("pack_id", sa.Text),
        sa.Column("result", sa.LargeBinary),
        sa.PrimaryKeyConstraint("batch_id", "number"),
    )
    op.create_index("batch_lines_state", "batch_lines", ["batch_id", "state", "lease_until", "number"])
    op.create_table(
        "batch_packs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("batch_id", sa.Text, sa.ForeignKey("batches.id"), nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("queued_at", sa.Double, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
    )
    op.create_index("batch_packs_batch", "batch_packs", ["batch_id"])


def downgrade() -> None:
    """Drop them."""
    for table in ("batch_packs", "batch_lines", "batches", "files"):
        op.drop_table(table)
