"""What expires is told to the admin by mail, through a real Postfix: once on each day, by one of two hosts."""

from datetime import UTC, datetime, timedelta

import pytest
from lab.place import short_folder
from lab.postfix import Postfix
from lab.sink import Sink
from lab.site import GatepostSite
from lab.wait import until

from gatepost.app.expiring import expiring_of
from gatepost.app.store import open_database
from gatepost.settings import read

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def test_the_admin_is_told() -> None:
    """Keys of both kinds and the authority, seen from the days before they expire; doctor warns today, too."""
    with short_folder() as folder, Sink(name="inside") as inside:
        routes = {"hosp.test": inside.port}
        postfix = Postfix(folder / "p", hostname="gw.hosp.test", routes=routes, relay_domains=["hosp.test"])
        site = GatepostSite(folder / "site", postfix, domains=["hosp.test"]).create()
        with postfix:
            site.gatepost("key", "generate", "openpgp", "--for", "hosp.test", "--days", "20")
            site.gatepost("key", "generate", "smime", "--for", "anna@hosp.test", "--days", "25")
            doctor = site.gatepost("doctor", check=False).stdout
            settings = read(site.config)
            now = datetime.now(UTC)
            days: list[int] = []
            for day in range(26):
                at = now + timedelta(days=day)
                hosts = [expiring_of(settings, open_database(settings), lambda at=at: at) for _ in range(2)]
                days += [day for host in hosts if host.tell()]
            until(lambda: len(inside.messages) == len(days), 60, "every notice arrives")
            received = inside.messages

    assert days == [0, 6, 11, 13, 18, 19, 24]  # 20 and 25 days are told as 30; then at 14, 7 and 1 days each
    assert {one.sender for one in received} == {""}
    assert {one.addresses for one in received} == {("postmaster@hosp.test",)}
    assert all("Keys and certificates expire soon" in one.values("Subject")[0] for one in received)
    assert "our OpenPGP key of hosp.test" in doctor
    assert "our certificate of anna@hosp.test" in doctor
    assert "authority" not in "".join(line for line in doctor.splitlines() if "expires" in line)
