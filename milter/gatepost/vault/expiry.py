"""
Expiry: what is over is deleted now and again, whether anyone looks or not.
"""

import threading
from collections.abc import Callable

from gatepost.errors import GatepostError
from gatepost.log import logger

_SECONDS = 3600.0


class Expiry:
    """Purges in a thread of its own until it is closed."""

    def __init__(self, what: str, purge: Callable[[], int], seconds: float = _SECONDS) -> None:
        """Take what is purged, in a word, and how; the seconds between two times; the first is at once."""
        self._what = what
        self._purge_all = purge
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
            number = self._purge_all()
        except GatepostError as error:
            logger.warning("what is over was not deleted", what=self._what, cause=str(error))
        else:
            if number:
                logger.info("what is over was deleted", what=self._what, count=number)
