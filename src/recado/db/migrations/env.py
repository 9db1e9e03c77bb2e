"""Alembic's entry: runs the migrations on the connection that `recado.db.migrate` hands over."""

from alembic import context

from recado.db.models import Merchant

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Merchant.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
