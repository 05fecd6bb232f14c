"""
A transaction packed into one stream, and unpacked to the same bytes.

The stream is one line of JSON (ASCII, ended by LF), then the message as it goes over the wire: header fields,
an empty line, body. The line holds the envelope and, for each field, the octets of its name and of the whole
field on the wire, so that fields come back exactly even where no parser would agree on them:

    {"format": 1, "queue_id": "...", "client": {...}, "sender": "<a@b>", "parameters": [...],
     "recipients": [{"address": "<c@d>", "parameters": [...]}], "fields": [[7, 24], ...]}

A recipient to whom an alias led has "alias" and "tied" as well.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gatepost.errors import AddressError, CryptoError, StorageError
from gatepost.message.address import parse
from gatepost.message.body import Spool
from gatepost.message.field import Field
from gatepost.message.transaction import Came, Client, Recipient, Transaction

_FORMAT = 1


def pack(transaction: Transaction) -> Iterator[bytes]:
    """Give a transaction as a stream of pieces."""
    wires = [field.wire() for field in transaction.fields]
    head = {
        "format": _FORMAT,
        "queue_id": transaction.queue_id,
        "client": asdict(transaction.client),
        "sender": transaction.sender.raw.decode("utf-8"),
        "parameters": transaction.parameters,
        "recipients": recipients_to_json(transaction.recipients),
        "fields": [(len(field.name), len(wire)) for field, wire in zip(transaction.fields, wires, strict=True)],
    }
    yield json.dumps(head).encode("ascii") + b"\n"
    yield from wires
    yield b"\r\n"
    yield from transaction.body.chunks()


def unpack(chunks: Iterable[bytes], spool_directory: Path | None = None) -> Transaction:
    """
    Read what `pack` wrote; a large body goes into an unlinked file in `spool_directory`.

    Raises CryptoError for a stream that `pack` did not write, StorageError when the disk is full.
    """
    stream = _Stream(chunks)
    try:
        head: dict[str, Any] = json.loads(stream.line())
        if head["format"] != _FORMAT:
            raise CryptoError(f"the held copy has the unknown format {head['format']!r}")
        fields = tuple(_field(stream.exactly(size), name_size) for name_size, size in head["fields"])
        stream.exactly(len(b"\r\n"))
        return Transaction(
            client=_client(head["client"]),
            sender=parse(head["sender"].encode("utf-8")),
            parameters=tuple(head["parameters"]),
            recipients=recipients_from_json(head["recipients"]),
            fields=fields,
            body=_spooled(stream.rest(), spool_directory),
            queue_id=head["queue_id"],
        )
    except (ValueError, KeyError, TypeError, AddressError) as error:
        raise CryptoError("the held copy opened, but is not a packed message") from error


def _client(values: dict[str, Any]) -> Client:
    return Client(**values | {"came": Came(values.get("came", Came.PLAIN))})


def recipients_to_json(recipients: Iterable[Recipient]) -> list[dict[str, object]]:
    """Give recipients as values that JSON can hold."""
    return [
        {"address": one.address.raw.decode("utf-8"), "parameters": list(one.parameters)}
        | ({"alias": one.alias.raw.decode("utf-8"), "tied": one.tied} if one.alias is not None else {})
        for one in recipients
    ]


def recipients_from_json(values: Iterable[dict[str, Any]]) -> tuple[Recipient, ...]:
    """Read recipients from values as JSON holds them; raises AddressError, KeyError or TypeError."""
    return tuple(
        Recipient(
            parse(one["address"].encode("utf-8")),
            tuple(one["parameters"]),
            parse(one["alias"].encode("utf-8")) if "alias" in one else None,
            bool(one.get("tied", False)),
        )
        for one in values
    )


def _field(wire: bytes, name_size: int) -> Field:
    value = wire[name_size + 1 : -2].replace(b"\r\n", b"\n")
    return Field(wire[:name_size], value)


def _spooled(pieces: Iterable[bytes], directory: Path | None) -> Spool:
    spool = Spool(directory)
    try:
        for piece in pieces:
            spool.write(piece)
    except OSError as error:
        spool.close()
        raise StorageError(f"a held copy cannot be spooled: {error.strerror or error}") from error
    except BaseException:
        spool.close()
        raise
    return spool


class _Stream:
    """Reads exact amounts from a stream of pieces of any size."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = bytearray()

    def _fill(self) -> None:
        piece = next(self._chunks, None)
        if piece is None:
            raise ValueError("the stream ends too early")
        self._held += piece

    def line(self) -> bytes:
        """Read up to a line end, and drop it."""
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            self._fill()
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line

    def exactly(self, size: int) -> bytes:
        """Read that many octets."""
        while len(self._held) < size:
            self._fill()
        piece = bytes(self._held[:size])
        del self._held[:size]
        return piece

    def rest(self) -> Iterator[bytes]:
        """Read all that is left."""
        yield bytes(self._held)
        self._held.clear()
        yield from self._chunks
