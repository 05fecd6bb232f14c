"""Where Gatepost thinks that Postfix sends mail is where Postfix sends it."""

import socket
from collections.abc import Iterator, Mapping

import pytest
from lab.place import short_folder
from lab.postfix import Postfix

from gatepost.message.address import parse
from gatepost.mta.postfix.routes import PostfixRoutes

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

_TABLE = """\
out.test smtp:[127.0.0.1]:1
self.test smtp:self.test
reset.test smtp:
same.test :
next.test :[127.0.0.1]:1
.below.test smtp:[127.0.0.1]:1
one@person.test smtp:[127.0.0.1]:1
"""
_SENDERS = ("ann@hosp.test", "ann+x@hosp.test", "bob@dept.test", "eve@else.test", "")
_RECIPIENTS = (
    *(f"a@{domain}.test" for domain in ("out", "self", "reset", "same", "next", "below", "x.below", "ordinary")),
    "one@person.test",
    "one+more@person.test",
    "two@person.test",
    "a@Out.Test",
    "a@relayed.test",
    "a@x.relayed.test",
)
_TRANSPORT = {"transport_maps": "texthash:{folder}/table", "recipient_delimiter": "+"}
_BY_SENDER = "inline:{{ {{ann@hosp.test=DUNNO}}, {{@dept.test=[127.0.0.1]:3}}, {{<>=[127.0.0.1]:4}} }}"
_CONFIGURATIONS: dict[str, Mapping[str, str]] = {
    "a transport table and a relay host": _TRANSPORT | {"relayhost": "[127.0.0.1]:2"},
    "with a wild card": _TRANSPORT
    | {"transport_maps": "texthash:{folder}/table, inline:{{*=smtp:[127.0.0.1]:5}}"},
    "by patterns": {"transport_maps": "regexp:{{ {{/^one/ smtp:[127.0.0.1]:6}} }}", "recipient_delimiter": "+"},
    "by parent domains": _TRANSPORT
    | {"parent_domain_matches_subdomains": "transport_maps", "transport_maps": "inline:{{below.test=smtp:[::1]}}"},
    "relay hosts of senders": {"transport_maps": "", "sender_dependent_relayhost_maps": _BY_SENDER}
    | {"relayhost": "ordinary.test", "recipient_delimiter": "+"},
    "transports of senders, and of what is relayed": {"transport_maps": "", "relayhost": "[127.0.0.1]:2"}
    | {"sender_dependent_default_transport_maps": "inline:{{ {{@hosp.test=smtp:[127.0.0.1]:7}} }}"}
    | {"relay_domains": "relayed.test", "relay_transport": "smtp:[::1]"},
}


@pytest.fixture(params=_CONFIGURATIONS)
def postfix(request: pytest.FixtureRequest) -> Iterator[Postfix]:
    """Give a Postfix that routes in one of these ways, running."""
    with short_folder() as folder:
        (folder / "table").write_text(_TABLE)
        settings = {key: value.format(folder=folder) for key, value in _CONFIGURATIONS[request.param].items()}
        with Postfix(folder / "p", settings={"relay_domains": "", **settings}) as running:
            yield running


class Resolver:
    """Asks Postfix's own trivial-rewrite(8), as its queue manager does."""

    def __init__(self, postfix: Postfix) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(postfix.queue_dir / "private" / "rewrite"))

    def goes_straight(self, sender: str, recipient: str) -> bool:
        """Tell whether smtp(8) is given the recipient's own domain."""
        question = ["request", "resolve", "sender", sender, "address", recipient, "", ""]
        self._socket.sendall("\0".join(question).encode())
        received = b""
        while b"recipient\0" not in received or not received.endswith(b"\0\0"):
            piece = self._socket.recv(4096)
            assert piece
            received += piece
        words = received.decode().split("\0")
        found = {word: words[place + 1] for place, word in enumerate(words[:-1])}
        domain = recipient.rpartition("@")[2].lower()
        return found["transport"] in {"smtp", "relay"} and found["nexthop"].lower() == domain


def test_detours_are_postfixs_own(postfix: Postfix) -> None:
    """For each sender and recipient, a detour is told exactly where Postfix makes one."""
    routes, resolver = PostfixRoutes(postfix.config_dir), Resolver(postfix)

    wrong = [
        (sender, recipient, found, straight)
        for sender in _SENDERS
        for recipient in _RECIPIENTS
        if (not (found := routes((parse(f"<{sender}>".encode()), parse(f"<{recipient}>".encode())))))
        is not (straight := resolver.goes_straight(sender, recipient))
    ]

    assert wrong == []
