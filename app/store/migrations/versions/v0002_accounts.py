"""Keys, and the ledger of what was used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.Column("previous_digest", sa.LargeBinary),
        sa.Column("previous_until", sa.Double),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("api_keys_revision", "api_keys", ["revision"])
    op.create_table(
        "revisions",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "usage",
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("neurons", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("day", "caller", "model", "source"),
        sqlite_with_rowid=False,
    )
    op.create_index("usage_caller", "usage", ["caller", "day"])


def downgrade() -> None:
    """Drop them."""
    for table in ("usage", "revisions", "api_keys"):
        op.drop_table(table)
