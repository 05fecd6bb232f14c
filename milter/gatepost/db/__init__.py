"""SQL: engine, tables, and the adapters that implement the ports."""
