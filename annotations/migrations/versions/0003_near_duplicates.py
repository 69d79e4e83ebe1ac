"""Fingerprints can be read without the pictures beside them."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_image_fingerprint_sha256", "image", ["fingerprint", "sha256"])
