"""Ten thousand faults, at random."""

import os
import random
import sys
from collections.abc import Callable

import pytest
from lab.fault_site import fault_site
from lab.fault_storm import Storm
from lab.place import short_folder
from lab.postfix import Postfix

pytestmark = [pytest.mark.real, pytest.mark.soak, pytest.mark.timeout(3600)]

_FAULTS = int(os.environ.get("GATEPOST_FAULTS", "10000"))
_SEED = int(os.environ.get("GATEPOST_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
_DOMAINS = ("hosp.test", "pgp.test", "tls.test", "pin.test", "hold.test")


def test_a_storm_of_faults(counted: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever fails wherever, for one message or for many at once, every wave of messages arrives as promised."""
    with capsys.disabled():
        sys.stdout.write(f"\nseed: GATEPOST_FAULT_SEED={_SEED}\n")
        counted(f"storm: seed {_SEED}")
        faults = messages = 0
        with short_folder() as folder, fault_site(folder, engine="sequoia") as site:
            routes: dict[str, int | str] = dict.fromkeys(_DOMAINS, site.town.postfix.inside_port)
            # After one failure Postfix answers 451 to all that comes over the same connection.
            settings = {"smtp_connection_cache_on_demand": "no"}
            with Postfix(folder / "q", hostname="queue.lab.test", routes=routes, settings=settings) as queue:
                storm = Storm(site, queue, _SEED)
                while faults < _FAULTS:
                    wave = storm.wave()
                    faults, messages = faults + wave.faults, messages + wave.messages
                    sys.stdout.write(f"{faults} faults, {messages} messages; {wave}\n")
                    sys.stdout.flush()
        counted(f"storm: {faults} faults struck {messages} messages")
