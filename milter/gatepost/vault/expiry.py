"""
Expiry: held copies whose time is over are deleted now and again, whether anyone looks or not.
"""

import threading

from gatepost.errors import GatepostError
from gatepost.log import logger
from gatepost.vault.held import Quarantine

_SECONDS = 3600.0


class Expiry:
    """Purges in a thread of its own until it is closed."""

    def __init__(self, quarantine: Quarantine, seconds: float = _SECONDS) -> None:
        """Take what to purge, and the seconds between two times; the first is at once."""
        self._quarantine = quarantine
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="expiry", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; a purge under way is finished."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._purge()
            if self._ended.wait(self._seconds):
                return

    def _purge(self) -> None:
        try:
            number = self._quarantine.purge()
        except GatepostError as error:
            logger.warning("expired copies were not deleted", cause=str(error))
        else:
            if number:
                logger.info("expired copies were deleted", count=number)
