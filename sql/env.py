"""Runs the migrations on a connection that `gatepost.db.schema` opened, or prints them as SQL."""

from alembic import context

from gatepost.db.tables import metadata

config = context.config
connection = config.attributes.get("connection")

if connection is None:
    # The driver's own style would double each % in the text.
    options = {"paramstyle": "named"}
    context.configure(dialect_name=config.attributes["dialect"], dialect_opts=options, target_metadata=metadata)
    context.run_migrations()
else:
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite"
    )
    context.run_migrations()
