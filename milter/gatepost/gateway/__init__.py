"""The use cases: what happens to a message, from decision to verdict."""
