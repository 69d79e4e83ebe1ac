"""Fingerprints can be read without the pictures beside them, and the newest annotations without the others."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_image_created_at_fingerprint_sha256", "image", ["created_at", "fingerprint", "sha256"])
    op.create_index("ix_annotation_created_at_id", "annotation", ["created_at", "id"])
