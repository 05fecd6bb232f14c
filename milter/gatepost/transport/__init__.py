"""TLS to the next hop: what partners demand, and the socketmap service that tells Postfix."""
