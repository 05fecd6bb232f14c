"""Fields that only this gateway may add."""

import pytest

from gatepost.gateway.own_fields import names, removed
from gatepost.message.edit import Change
from gatepost.message.field import Field

FIELDS = (
    Field(b"Gatepost-Result", b" forged"),
    Field(b"gatepost-route", b" evil.test"),
    Field(b"GATEPOST-RESULT", b" forged again"),
    Field(b"X-Gatepost-Encrypt", b" yes"),
    Field(b"X-PostX-Forward-Enabled", b" true"),
    Field(b"Authentication-Results", b" mx.hosp.test; spf=pass"),
    Field(b"Authentication-Results", b" gatepost.gw.hosp.test; smime=pass"),
    Field(b"Subject", b" hello"),
)


def test_forged_fields_are_removed_in_every_direction() -> None:
    """Every instance of ours goes, whatever its case; other filters' results stay."""
    assert (
        Change(b"Gatepost-Result", 1, None),
        Change(b"gatepost-route", 1, None),
        Change(b"GATEPOST-RESULT", 2, None),
        Change(b"Authentication-Results", 2, None),
    ) == removed(FIELDS, b"gatepost.gw.hosp.test", for_outsiders=False)


def test_outsiders_see_nothing_that_steers_the_gateway() -> None:
    """Copies for outsiders carry none of X-Gatepost-*, X-PostX-*."""
    gone = {edit.name for edit in removed(FIELDS, b"gatepost.gw.hosp.test", for_outsiders=True)}

    assert {b"X-Gatepost-Encrypt", b"X-PostX-Forward-Enabled"} <= gone


@pytest.mark.parametrize(
    "value",
    [
        b" gw.test; none",
        b" GW.test",
        b' "gw.test" 1; smime=pass',
        b" (comment) gw.test; smime=pass",
        b"\n gw.test\n ; smime=pass",
        b"gw.test;smime=pass",
        b" (a (nested) comment) gw.test; pgp=pass",
        b" (a \\) comment) gw.test; pgp=pass",
        b' "gw\\.test"; pgp=pass',
        b" gw.test/1; pgp=pass",
        b" gw.test. (x); pgp=pass",
        b"(x)gw.test(y);pgp=pass",
    ],
)
def test_our_authserv_id_is_known_however_it_is_written(value: bytes) -> None:
    """RFC 8601 allows comments, quotes and folding around the authserv-id."""
    assert names(value, b"gw.test")


@pytest.mark.parametrize("value", [b" gw.test.evil; x", b" mx.gw.test; x", b"", b" ;", b" mx.test (gw.test); x"])
def test_other_ids_are_not_ours(value: bytes) -> None:
    """Only the whole authserv-id counts."""
    assert not names(value, b"gw.test")
