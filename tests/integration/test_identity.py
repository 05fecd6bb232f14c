"""
What passes is identical to what the same Postfix delivers without Gatepost.

Both runs send the same messages to the same addresses; the bytes received are compared raw. Permitted
differences, and no others:

  * what each Postfix makes anew: the queue ID and time in its own Received field, and the Message-Id,
    Date and Resent-Date that it adds to a message without them (`lab.corpus.Sent.comparable`);
  * incoming mail: the fields `Gatepost-Result` and `Authentication-Results` under our own authserv-id.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from lab import corpus, golden
from lab.corpus import Sent
from lab.postfix import Postfix
from lab.town import KEY_HOLDERS, OWN, Town

Counted = Callable[[str], None]

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

_DIGESTS = Path(__file__).parents[1] / "golden" / "messages.sha256"
_ADDED_TO_INCOMING = re.compile(
    rb"^(?:Gatepost-Result|Authentication-Results): gatepost\.mail\.hosp\.test;[^\r]*\r\n(?:[ \t][^\r]*\r\n)*",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def control(lab_folder: Path, shared_town: Town) -> Iterator[Postfix]:
    """Give a Postfix like the town's, with the same receivers, but without Gatepost."""
    routes = {OWN: shared_town.inside.port, "plain.test": shared_town.outside.port}
    settings = {"smtp_tls_security_level": "may"}
    with Postfix(
        lab_folder / "control", hostname="mail.hosp.test", routes=routes, relay_domains=[OWN], settings=settings
    ) as postfix:
        yield postfix


def _messages() -> Mapping[str, bytes]:
    everything = {**golden.messages(), **corpus.corpora()}
    return {name: message for name, message in everything.items() if len(message) < 40_000_000}


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
    """Runs of one direction each; the corpus in `$GATEPOST_CORPORA` is part of each if there is one."""

    def _both(
        self, town: Town, control: Postfix, *, outside_port: bool, sender: str, domain: str
    ) -> tuple[Mapping[str, bytes], dict[str, Sent], dict[str, Sent]]:
        messages = _messages()
        sink = town.inside if domain == OWN else town.outside
        runs = []
        for postfix in (town.postfix, control):
            town.clear()
            port = postfix.outside_port if outside_port else postfix.inside_port
            runs.append(corpus.run(port, sink, messages, sender=sender, domain=domain, postfix=postfix))
        return messages, runs[0], runs[1]

    def test_internal(self, the_town: Town, control: Postfix, counted: Counted) -> None:
        """Internal mail arrives identical, all of it."""
        messages, ours, theirs = self._both(
            the_town, control, outside_port=False, sender="ann@hosp.test", domain=OWN
        )

        different = _different(messages, ours, theirs)
        counted(f"internal: {len(messages)} sent, {len(messages) - len(different)} identical")
        assert different == []

    def test_outgoing(self, the_town: Town, control: Postfix, counted: Counted) -> None:
        """Outgoing mail that no rule holds or protects arrives identical; what a rule did hold is counted."""
        messages, ours, theirs = self._both(
            the_town, control, outside_port=False, sender="ann@hosp.test", domain="plain.test"
        )

        held = {
            recipient
            for held in the_town.site.json("quarantine", "list")["held"]
            for recipient in held["recipients"]
        }
        addresses = {name: f"m{number}@plain.test" for number, name in enumerate(messages)}
        passed = {name: message for name, message in messages.items() if addresses[name] not in held}
        different = _different(passed, ours, theirs)
        counted(
            f"outgoing: {len(messages)} sent, {len(held)} held by a rule, {len(passed) - len(different)} identical"
        )
        assert different == []
        assert len(passed) >= 0.9 * len(messages)
        assert set(golden.messages()) <= set(passed)

    def test_incoming(self, the_town: Town, control: Postfix, counted: Counted) -> None:
        """Incoming mail arrives identical but for the two fields that say how it came."""
        messages, ours, theirs = self._both(
            the_town, control, outside_port=True, sender="someone@plain.test", domain=OWN
        )

        different = _different(messages, ours, theirs, strip=_ADDED_TO_INCOMING)
        counted(f"incoming: {len(messages)} sent, {len(messages) - len(different)} identical")
        assert different == []
        marked = [name for name in messages if ours[name].received and not _result_of(ours[name])]
        assert marked == []


class TestWhatIsEncryptedDecryptsToTheOriginal:
    def test_over_the_same_messages(self, the_town: Town, control: Postfix, counted: Counted) -> None:
        """The gpg command line gets back exactly the body that the milter saw, and every Content field."""
        messages = _messages()
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
                continue
            plain = the_town.gpg.decrypt(received.data).data
            if not _is_whole(plain, original.data):
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
