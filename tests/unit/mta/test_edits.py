"""Edits performed in the order that Postfix takes."""

from gatepost.gateway.verdict import Accept
from gatepost.message import address
from gatepost.message.body import MemoryBody
from gatepost.message.edit import Append, Change, Form, Prepend
from gatepost.mta.edits import perform

SENDER = address.parse(b"<Alice@hosp.test>")


class Server:
    """Notes every request in order."""

    def __init__(self) -> None:
        self.requests: list[tuple[object, ...]] = []

    def addheader(self, field: str, value: str, idx: int = -1) -> None:
        self.requests.append(("add", field, value, idx))

    def chgheader(self, field: str, idx: int, value: str | None) -> None:
        self.requests.append(("change", field, idx, value))

    def delrcpt(self, rcpt: str) -> None:
        self.requests.append(("delete", rcpt))

    def chgfrom(self, sender: str, params: str | None = None) -> None:
        self.requests.append(("from", sender, params))

    def replacebody(self, body: bytes) -> None:
        self.requests.append(("body", len(body)))


def requests(accept: Accept) -> list[tuple[object, ...]]:
    server = Server()
    perform(server, accept, SENDER)
    return server.requests


def test_header_then_envelope_then_the_body_in_one_run() -> None:
    """No request comes between two pieces of the body, and none after it."""
    form = Form(
        (Change(b"Subject", 1, b" x"), Append(b"A", b" 1"), Prepend(b"P", b" 2")), MemoryBody(b"b" * 200_000)
    )
    accept = Accept(form, (address.parse(b"<Bob@X.test>"),), headers_only_bounces=True)

    assert [
        ("change", "Subject", 1, " x"),
        ("add", "A", " 1", -1),
        ("add", "P", " 2", 1),
        ("from", "<Alice@hosp.test>", "RET=HDRS"),
        ("delete", "<Bob@X.test>"),
    ] == requests(accept)[:5]
    pieces = requests(accept)[5:]
    assert {"body"} == {kind for kind, *_ in pieces}
    assert all(0 < int(str(size)) <= 65535 for _, size in pieces)
    assert sum(int(str(size)) for _, size in pieces) == 200_000


def test_fields_are_changed_from_the_last_to_the_first() -> None:
    """A mail server that does not count deleted fields would otherwise delete the wrong one."""
    form = Form((Change(b"X", 1, None), Change(b"X", 2, None), Change(b"Y", 1, None), Change(b"X", 3, b" v")))

    assert [3, 2, 1, 1] == [index for _, _, index, _ in requests(Accept(form))]


def test_an_empty_body_is_replaced_too() -> None:
    """An empty new body still takes the old one's place."""
    assert [("body", 0)] == requests(Accept(Form((), MemoryBody(b""))))


def test_eight_bit_values_can_be_written() -> None:
    """UTF-8 stays UTF-8; other octets are read as Latin-1, since the binding takes text only."""
    form = Form((Append(b"A", " ä".encode()), Append(b"B", b" \xe4")))

    assert [" ä", " ä"] == [value for _, _, value, _ in requests(Accept(form))]
