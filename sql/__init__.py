"""The Alembic environment and the generated schemas."""
