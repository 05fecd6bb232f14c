"""Units, sysusers and tmpfiles."""
