"""The message itself: addresses, fields, body, edits. Pure: no I/O beyond the spool file."""
