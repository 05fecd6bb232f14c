"""The default rules, as admins get them."""
