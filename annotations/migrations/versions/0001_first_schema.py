"""The first schema: pictures, predictions, annotations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "image",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("media_type", sa.String(64), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_image"),
    )
    op.create_table(
        "prediction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("checkpoint", sa.String(200), nullable=False),
        sa.Column("tokens", sa.Text(), nullable=False),
        sa.Column("latex", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("alternatives", sa.JSON(), nullable=False),
        sa.Column("decoding", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_prediction"),
        sa.ForeignKeyConstraint(
            ["image_sha256"], ["image.sha256"], name="fk_prediction_image_sha256_image", ondelete="CASCADE"
        ),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name=op.f("ck_prediction_confidence")),
    )
    op.create_index("ix_prediction_image_sha256", "prediction", ["image_sha256"])
    op.create_table(
        "annotation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("prediction_id", sa.Integer(), nullable=True),
        sa.Column("correction", sa.Text(), nullable=True),
        sa.Column("tokens", sa.Text(), nullable=True),
        sa.Column("label_sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("annotator", sa.String(200), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotation"),
        sa.ForeignKeyConstraint(["image_sha256"], ["image.sha256"], name="fk_annotation_image_sha256_image"),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["prediction.id"],
            name="fk_annotation_prediction_id_prediction",
            ondelete="SET NULL",
        ),
        sa.UniqueConstraint(
            "image_sha256",
            "label_sha256",
            "annotator",
            name="uq_annotation_image_sha256_label_sha256_annotator",
        ),
        sa.CheckConstraint(
            "status IN ('draft', 'pending', 'accepted', 'rejected', 'skipped')",
            name=op.f("ck_annotation_status"),
        ),
        sa.CheckConstraint(
            "status <> 'accepted' OR correction IS NOT NULL",
            name=op.f("ck_annotation_accepted_has_correction"),
        ),
        sa.CheckConstraint(
            "(correction IS NULL) = (label_sha256 = '')", name=op.f("ck_annotation_label_of_correction")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_annotation_prediction_id", "annotation", ["prediction_id"])
    op.create_index("ix_annotation_status_created_at", "annotation", ["status", "created_at"])
