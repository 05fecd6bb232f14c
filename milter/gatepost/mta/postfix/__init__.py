"""Postfix: its configuration as text, and how Gatepost is put into it and taken out again."""
