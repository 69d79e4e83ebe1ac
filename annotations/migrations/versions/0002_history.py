"""History with undo, reasons for rejecting, fingerprints of pictures, pen strokes."""

import io

import PIL.Image
import sqlalchemy as sa
from alembic import op

from annotations.fingerprint import fingerprint

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Columns are added in place: SQLite would recreate the table, and with it cascade away what refers to it.
    op.add_column("image", sa.Column("fingerprint", sa.String(64), server_default="", nullable=False))
    op.add_column("image", sa.Column("strokes", sa.Text(), nullable=True))
    rejected_only = sa.CheckConstraint("reason IS NULL OR status = 'rejected'", name=op.f("ck_annotation_reason"))
    op.add_column("annotation", sa.Column("reason", sa.String(32), rejected_only, nullable=True))
    op.create_table(
        "change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.Column("annotator", sa.String(200), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_change"),
        sa.ForeignKeyConstraint(
            ["image_sha256"], ["image.sha256"], name="fk_change_image_sha256_image", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["undoes"], ["change.id"], name="fk_change_undoes_change", ondelete="CASCADE"),
        sa.CheckConstraint("before IS NOT NULL OR after IS NOT NULL", name=op.f("ck_change_changes_something")),
    )
    op.create_index("ix_change_annotation_id", "change", ["annotation_id"])
    op.create_index("ix_change_annotator_id", "change", ["annotator", "id"])
    op.create_index("ix_change_image_sha256", "change", ["image_sha256"])
    op.create_index("ix_change_undoes", "change", ["undoes"])
    _take_fingerprints()


def _take_fingerprints() -> None:
    image = sa.table("image", sa.column("sha256"), sa.column("content"), sa.column("fingerprint"))
    connection = op.get_bind()
    for sha256 in connection.scalars(sa.select(image.c.sha256)).all():
        content = connection.scalar(sa.select(image.c.content).where(image.c.sha256 == sha256))
        assert content is not None
        with PIL.Image.open(io.BytesIO(content)) as picture:
            taken = fingerprint(picture)
        connection.execute(sa.update(image).where(image.c.sha256 == sha256).values(fingerprint=taken))
