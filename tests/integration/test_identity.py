"""
What passes is identical to what the same Postfix delivers without Gatepost.

Both runs send the same messages to the same addresses; the bytes received are compared raw. Permitted
differences, and no others:

  * what each Postfix makes anew: the queue ID and time in its own Received field, and the Message-Id,
    Date and Resent-Date that it adds to a message without them (`lab.corpus.Sent.comparable`);
  * incoming mail: the fields `Gatepost-Result`, which says that it came in clear and was not opened, and
    `Authentication-Results`, which names no signature that is good, both under our own authserv-id.
"""

import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lab import corpus, golden
from lab.corpus import Sent
from lab.place import short_folder
from lab.postfix import Postfix
from lab.sink import Received
from lab.town import KEY_HOLDERS, OWN, Town

Counted = Callable[[str], None]
Messages = Mapping[str, bytes]

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

_DIGESTS = Path(__file__).parents[1] / "golden" / "messages.sha256"
_ENCRYPTED_BY_US = b"\r\n--gatepost-"
_ADDED_TO_INCOMING = re.compile(
    rb"^(?:Gatepost-Result: gatepost\.mail\.hosp\.test; decrypted=no; signed=(?:none|fail); came=plain"
    rb"(?:; flag=(?:undecryptable|nested))?"
    rb"|Authentication-Results: gatepost\.mail\.hosp\.test;\s(?:none|(?:pgp|smime)=fail\sreason=\"[^\"]*\"[^\r]*))"
    rb"\r\n",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def control(shared_town: Town) -> Iterator[Postfix]:
    """
    Give a Postfix like the town's, with the same receivers, but without Gatepost.

    Both refuse to be smuggled through (smtpd_forbid_bare_newline), as `setup postfix` and the doctor require.
    """
    routes = {OWN: shared_town.inside.port, "plain.test": shared_town.outside.port}
    settings = {"smtp_tls_security_level": "may", "smtpd_forbid_bare_newline": "normalize"}
    with (
        short_folder() as folder,
        Postfix(
            folder / "control", hostname="mail.hosp.test", routes=routes, relay_domains=[OWN], settings=settings
        ) as postfix,
    ):
        yield postfix


@pytest.fixture(params=["golden", "corpora"])
def messages(request: pytest.FixtureRequest) -> Mapping[str, bytes]:
    """Give the messages of a run by name; none is left out."""
    found = golden.messages() if request.param == "golden" else corpus.corpora()
    if not found:
        pytest.skip("lacks the corpora")
    return found


class TestGoldenMessages:
    def test_at_least_a_hundred_all_different(self) -> None:
        """There are at least 100 golden messages, no two of them alike."""
        messages = golden.messages()

        assert len(messages) >= 100
        assert len(set(messages.values())) == len(messages)

    def test_none_changed_unseen(self) -> None:
        """Every golden message is the one whose digest was noted."""
        made = "".join(
            f"{hashlib.sha256(message).hexdigest()}  {name}\n" for name, message in golden.messages().items()
        )

        assert made == _DIGESTS.read_text()


class TestWhatPassesIsIdentical:
    def _both(
        self,
        town: Town,
        control: Postfix,
        messages: Mapping[str, bytes],
        *,
        sender: str,
        domain: str,
        outside_port: bool = False,
    ) -> tuple[dict[str, Sent], dict[str, Sent]]:
        sink = town.inside if domain == OWN else town.outside
        runs = []
        for postfix in (town.postfix, control):
            town.clear()
            port = postfix.outside_port if outside_port else postfix.inside_port
            runs.append(corpus.run(port, sink, messages, sender=sender, domain=domain, postfix=postfix))
        assert [name for name in messages if runs[1][name].received is None] == [], "the control run lost some"
        return runs[0], runs[1]

    def test_internal(self, the_town: Town, control: Postfix, messages: Messages, counted: Counted) -> None:
        """Internal mail arrives identical, all of it."""
        ours, theirs = self._both(the_town, control, messages, sender="ann@hosp.test", domain=OWN)

        different = _different(messages, ours, theirs)
        counted(f"internal: {len(messages)} sent, {len(messages) - len(different)} identical")
        assert different == []

    def test_outgoing(self, the_town: Town, control: Postfix, messages: Messages, counted: Counted) -> None:
        """Outgoing mail that no rule holds or protects arrives identical; what a rule did hold is counted."""
        _forget_threads(the_town)
        before = {held["id"] for held in _held(the_town)}
        ours, theirs = self._both(the_town, control, messages, sender="ann@hosp.test", domain="plain.test")

        new = [each for each in _held(the_town) if each["id"] not in before]
        held = {recipient for each in new for recipient in each["recipients"]}
        addresses = {name: f"m{number}@plain.test" for number, name in enumerate(messages)}
        passed = {name: message for name, message in messages.items() if addresses[name] not in held}
        different = _different(passed, ours, theirs)
        counted(
            f"outgoing: {len(messages)} sent, {len(held)} held by a rule, {len(passed) - len(different)} identical"
        )
        assert different == []
        assert len(passed) >= 0.9 * len(messages)
        assert set(golden.messages()) & set(messages) <= set(passed)

    def test_incoming(self, the_town: Town, control: Postfix, messages: Messages, counted: Counted) -> None:
        """Incoming mail arrives identical but for the two fields that say how it came."""
        sender = "someone@plain.test"
        ours, theirs = self._both(the_town, control, messages, sender=sender, domain=OWN, outside_port=True)

        different = _different(messages, ours, theirs, strip=_ADDED_TO_INCOMING)
        counted(f"incoming: {len(messages)} sent, {len(messages) - len(different)} identical")
        assert different == []
        marked = [name for name in messages if ours[name].received and not _result_of(ours[name])]
        assert marked == []


class TestWhatIsEncryptedDecryptsToTheOriginal:
    def test_over_the_same_messages(
        self, the_town: Town, control: Postfix, messages: Messages, counted: Counted
    ) -> None:
        """The gpg command line gets back exactly the body that the milter saw, and every Content field."""
        control.route("pgp.test", the_town.outside.port)
        ours = _encrypted_run(the_town, messages)
        the_town.clear()
        # Without this the control's smtp would break long lines, which ciphertext does not have.
        control.set(smtp_line_length_limit="0")
        control.reload()
        try:
            theirs = corpus.run(
                control.inside_port,
                the_town.outside,
                messages,
                sender="ann@hosp.test",
                domain="pgp.test",
                postfix=control,
            )
        finally:
            control.set(smtp_line_length_limit="998")
            control.reload()

        different = []
        for name in messages:
            original, received = theirs[name].received, ours[name].received
            if original is None or received is None:
                different.append(f"{name}: {ours[name].outcome.reply}")
            elif not _arrived_whole(the_town, received, original):
                different.append(name)
        counted(
            f"encrypted: {len(messages)} sent, {len(messages) - len(different)} decrypted to the original bytes"
        )
        assert different == []


def _encrypted_run(town: Town, messages: Mapping[str, bytes]) -> dict[str, Sent]:
    """Send all of them to a domain key, so that every address there can read."""
    keys = town.gpg.export_to(town.folder / "pgp-domain.asc", f"Ann <{KEY_HOLDERS[0]}>")
    town.site.gatepost("key", "import", keys, "--for", "pgp.test")
    return corpus.run(
        town.postfix.inside_port,
        town.outside,
        messages,
        sender="ann@hosp.test",
        domain="pgp.test",
        postfix=town.postfix,
    )


def _forget_threads(town: Town) -> None:
    """Empty the thread table: the same messages, sent encrypted by another test, made conversations of them."""
    with contextlib.closing(sqlite3.connect(town.site.folder / "gatepost.db")) as database:
        database.execute("DELETE FROM thread")
        database.commit()


def _held(town: Town) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = town.site.json("quarantine", "list")["held"]
    return found


def _arrived_whole(town: Town, received: Received, original: Received) -> bool:
    """Tell whether gpg gets the original back; what was encrypted by its sender already passes as it is."""
    if _ENCRYPTED_BY_US not in received.data:
        return b"-----BEGIN PGP MESSAGE-----" in original.data and received.body == original.body
    return _is_whole(town.gpg.decrypt(received.data).data, original.data)


def _is_whole(plain: bytes, original: bytes) -> bool:
    """Tell whether a plaintext entity holds the original's Content fields, in order, and its very body."""
    header, _, body = original.partition(b"\r\n\r\n")
    plain_header, _, plain_body = (b"\r\n" + plain).partition(b"\r\n\r\n")
    wanted = re.findall(rb"\r\n(Content-[^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", header, re.IGNORECASE)
    given = re.findall(rb"\r\n(Content-[^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", plain_header, re.IGNORECASE)
    return plain_body == body and (not wanted or given == wanted)


def _result_of(sent: Sent) -> bool:
    return sent.received is not None and bool(_ADDED_TO_INCOMING.search(sent.received.data))


def _different(
    messages: Mapping[str, bytes],
    ours: Mapping[str, Sent],
    theirs: Mapping[str, Sent],
    *,
    strip: re.Pattern[bytes] | None = None,
) -> list[str]:
    """Name every message that did not arrive the same in both runs; one refused by both is the same."""
    different = []
    for name, message in messages.items():
        with_gatepost, without = ours[name].comparable(message), theirs[name].comparable(message)
        if with_gatepost is not None and strip is not None:
            with_gatepost = strip.sub(b"", with_gatepost)
        if with_gatepost != without or ours[name].outcome.reply.code != theirs[name].outcome.reply.code:
            different.append(f"{name}: {ours[name].outcome.reply}")
    return different
