"""Runs the migrations inside the transaction that annotations.store has begun; there is no command line."""

from alembic import context

from annotations.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter a constraint in place
)
with context.begin_transaction():
    context.run_migrations()
