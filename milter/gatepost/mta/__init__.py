"""The mail server: the milter adapter, and Postfix's configuration."""
