"""Partners, keys and threads: the values, and the ports that look them up."""
