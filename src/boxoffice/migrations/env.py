"""Run by Alembic for each command; the connection and its transaction are the caller's."""

from alembic import context
from sqlmodel import SQLModel

import boxoffice.tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

assert boxoffice.tables  # imported for the tables that it declares
