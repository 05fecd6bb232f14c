"""
The log: one line per event on stderr, named fields, never a message's content or a secret.
"""

import structlog
from structlog.typing import FilteringBoundLogger

logger: FilteringBoundLogger = structlog.get_logger("gatepost")
