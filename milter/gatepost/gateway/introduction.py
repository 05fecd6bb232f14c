"""
What an encrypted message brings so that its recipient can answer encrypted: its author's OpenPGP key, or that of
the author's domain, in an Autocrypt field. A signature of S/MIME brings the certificate itself.

A field that the author's own program wrote stays, and then there is no other.
"""

from collections.abc import Callable, Iterator

from gatepost.crypto import autocrypt
from gatepost.crypto.certificate import Reader
from gatepost.directory.key import Keys, may_sign
from gatepost.errors import CryptoError
from gatepost.gateway.signing import author_of
from gatepost.message.edit import Append, Edit
from gatepost.message.field import named
from gatepost.message.transaction import Transaction


class Introduction:
    """Makes Autocrypt fields."""

    def __init__(self, *, keys: Keys, reader: Reader, minimal: Callable[[bytes, str], bytes]) -> None:
        """Take the key table, what judges certificates, and what leaves of one only what an address needs."""
        self._keys = keys
        self._reader = reader
        self._minimal = minimal

    def edits(self, transaction: Transaction) -> Iterator[Edit]:
        """Add the field if it is missing and the author has a key of ours; the best that can be encrypted to."""
        if not self._keys.any_own() or named(transaction.fields, autocrypt.NAME.lower()):
            return
        author = author_of(transaction)
        if author is None:
            return
        for key in self._keys.find(author, "openpgp"):
            if not may_sign(key, author, transaction.sender):
                continue
            try:
                if self._reader.read(key.certificate)[0].refusal:
                    continue
                found = autocrypt.field(author.text, self._minimal(key.certificate, author.text))
            except CryptoError:
                continue  # a key that cannot be read is no help to anybody; what is encrypted goes all the same
            if found is not None:
                yield Append(found.name, found.value)
                return
