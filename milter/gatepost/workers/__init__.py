"""Processes beside the milter: the key worker, pools, the supervisor."""
