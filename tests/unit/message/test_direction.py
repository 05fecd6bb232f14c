"""The direction of one recipient."""

import ipaddress

import pytest

from gatepost.message import address
from gatepost.message.direction import Direction, Site
from gatepost.message.transaction import Client

SITE = Site(
    domains=frozenset({"hosp.test", ".clinic.test"}),
    networks=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")),
    inside_listeners=frozenset({"submission"}),
    outside_listeners=frozenset({"mx"}),
)
INSIDE = Client(address="10.1.2.3")
OUTSIDE = Client(address="192.0.2.1")


@pytest.mark.parametrize(
    ("client", "recipient", "expected"),
    [
        (INSIDE, b"<a@partner.test>", Direction.OUT),
        (INSIDE, b"<a@hosp.test>", Direction.INTERNAL),
        (INSIDE, b"<a@HOSP.test>", Direction.INTERNAL),
        (INSIDE, b"<a@sub.hosp.test>", Direction.OUT),
        (INSIDE, b"<a@ward.clinic.test>", Direction.INTERNAL),
        (INSIDE, b"<a@clinic.test>", Direction.OUT),
        (INSIDE, b"<a@nothosp.test>", Direction.OUT),
        (INSIDE, b"<postmaster>", Direction.INTERNAL),
        (OUTSIDE, b"<a@hosp.test>", Direction.IN),
        (OUTSIDE, b"<a@partner.test>", Direction.TRANSIT),
        (Client(address="192.0.2.1", authenticated="alice"), b"<a@partner.test>", Direction.OUT),
        (Client(address="192.0.2.1", listener="submission"), b"<a@partner.test>", Direction.OUT),
        (Client(address="10.1.2.3", listener="mx"), b"<a@hosp.test>", Direction.IN),
        (Client(address="::1"), b"<a@partner.test>", Direction.OUT),
        (Client(address="unknown"), b"<a@hosp.test>", Direction.IN),
        (Client(), b"<a@hosp.test>", Direction.IN),
    ],
)
def test_direction(client: Client, recipient: bytes, expected: Direction) -> None:
    """Client and recipient make the direction; headers have no say."""
    assert expected is SITE.direction(client, address.parse(recipient))
