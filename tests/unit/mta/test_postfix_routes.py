"""Postfix's routing: told by its own tables, as its own trivial-rewrite(8) would, and never taken for none."""

import os
import time
from pathlib import Path

import pytest

from gatepost.errors import RouteError
from gatepost.message.address import NULL_SENDER, parse
from gatepost.mta.postfix import tables
from gatepost.mta.postfix.routes import PostfixRoutes

pytestmark = pytest.mark.real

ANN = parse(b"<ann@hosp.test>")


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """Give a Postfix configuration directory that routes nothing."""
    (tmp_path / "master.cf").write_text("")
    write(tmp_path)
    return tmp_path


def write(folder: Path, **settings: str) -> None:
    main = {"compatibility_level": "3.6", "myhostname": "mail.hosp.test", "relay_domains": ""} | settings
    (folder / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))


def detour(folder: Path, to: str = "bob@partner.test") -> str:
    return PostfixRoutes(folder)((ANN, parse(f"<{to}>".encode())))


def test_a_plain_postfix_starts_no_process(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is routed, no table is asked, and main.cf is read once."""
    routes = PostfixRoutes(configured)
    assert routes((ANN, parse(b"<bob@partner.test>"))) == ""
    monkeypatch.setattr(tables, "subprocess", None)  # would fail if a table were asked
    monkeypatch.setattr(PostfixRoutes, "_read", None)  # would fail if it were read again

    assert routes((ANN, parse(b"<eve@other.test>"))) == ""


def test_a_change_of_main_cf_is_seen(configured: Path) -> None:
    """main.cf is read again once it has changed."""
    routes = PostfixRoutes(configured)
    assert routes((ANN, parse(b"<bob@partner.test>"))) == ""
    write(configured, relayhost="[out.test]")
    os.utime(configured / "main.cf", (time.time() + 5,) * 2)

    assert routes((ANN, parse(b"<bob@partner.test>"))) == "relayhost: [out.test]"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"relayhost": "[out.test]:587"}, "relayhost: [out.test]:587"),
        ({"default_transport": "smtp:[out.test]"}, "default_transport: smtp:[out.test]"),
        ({"transport_maps": "inline:{partner.test=slow:}"}, "transport_maps: slow:"),
        (
            {"sender_dependent_relayhost_maps": "inline:{{@hosp.test=[out.test]}}"},
            "sender_dependent_relayhost_maps: [out.test]",
        ),
        (
            {"sender_dependent_default_transport_maps": "inline:{{ann@hosp.test=slow:}}"},
            "sender_dependent_default_transport_maps: slow:",
        ),
        (
            {"relay_transport": "smtp:[in.test]", "relay_domains": "test"},
            "relay_transport: smtp:[in.test]",
        ),
        (
            {"relay_transport": "smtp:[in.test]", "relay_domains": "inline:{partner.test=x}"},
            "relay_transport: smtp:[in.test]",
        ),
        (
            {"relay_transport": "smtp:[in.test]", "relay_domains": "/etc/relayed"},
            "relay_transport: smtp:[in.test]",
        ),
        ({"relay_transport": "smtp:[in.test]", "relay_domains": "other.test"}, ""),
    ],
)
def test_the_setting_is_named(configured: Path, settings: dict[str, str], told: str) -> None:
    """What sends the mail elsewhere is named with its value, for the admin to find."""
    write(configured, **settings)

    assert detour(configured) == told


def test_the_null_sender_has_a_key_of_its_own(configured: Path) -> None:
    """Bounces and notices are routed by the key `<>`."""
    write(configured, sender_dependent_relayhost_maps="inline:{{<>=[out.test]}}")

    assert PostfixRoutes(configured)((NULL_SENDER, parse(b"<bob@partner.test>")))
    assert not detour(configured)


def test_a_table_that_cannot_be_asked_is_an_error(configured: Path) -> None:
    """A broken table is never taken for an empty one."""
    write(configured, transport_maps=f"texthash:{configured}/none")

    with pytest.raises(RouteError, match=r"routing table texthash:.*none cannot be asked"):
        detour(configured)


def test_no_configuration_is_an_error(tmp_path: Path) -> None:
    """Without main.cf nobody knows of any route."""
    with pytest.raises(RouteError, match="routes cannot be followed"):
        detour(tmp_path)


def test_a_configuration_that_cannot_be_read_is_an_error(configured: Path) -> None:
    """What Postfix cannot read says nothing of routes."""
    write(configured, relayhost="${")

    with pytest.raises(RouteError, match="routes cannot be followed"):
        detour(configured)
