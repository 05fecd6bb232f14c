"""The demo's judge calls nothing right that is not."""

from pathlib import Path

import pytest
from lab.demo_arrival import AS_WRITTEN, CLEAR, NOTHING, NOTICE, Content, Eye, Form
from lab.demo_report import Row
from lab.gpg import Gpg
from lab.sink import Received, Recipient, Tls
from lab.smime import Smime

_KIND = "text/plain; charset=utf-8"
_CONTENT = Content(_KIND, b"the CANARY\r\n", b"CANARY")


@pytest.fixture
def eye(tmp_path: Path) -> Eye:
    return Eye(Gpg(tmp_path / "gpg"), Smime(tmp_path / "smime"), {}, "gate.test")


def _received(
    body: bytes = _CONTENT.body, *, kind: str = _KIND, sender: str = "sue@hosp.test", tls: Tls | None = None
) -> Received:
    result = "Gatepost-Result: gate.test; decrypted=no; signed=none\r\n" if sender else ""
    data = f"Subject: hi\r\nContent-Type: {kind}\r\n{result}\r\n".encode() + body
    return Received(sender, (), (Recipient("a@b.test", ()),), data, tls, "mail.test", 1, 0.0)


def test_one_copy_as_written(eye: Eye) -> None:
    """A copy in clear is told with its subject, its content and its result field."""
    form = eye.look([_received()], _CONTENT)

    assert form == Form(CLEAR, ("hi",), AS_WRITTEN, ("decrypted=no; signed=none",))


def test_tls_is_the_sessions(eye: Eye) -> None:
    """What came inside TLS says so, by the receiver's session."""
    assert eye.look([_received(tls=Tls("TLSv1.3", "x", None))], _CONTENT).way == "in clear inside TLSv1.3"


def test_nothing_and_twice(eye: Eye) -> None:
    """No copy is nothing; two are never one."""
    assert eye.look([], _CONTENT) == NOTHING
    assert eye.look([_received(), _received()], _CONTENT) == Form("2 times, not once")


@pytest.mark.parametrize("changed", [_received(b"the CANARY\n"), _received(kind="text/html")])
def test_a_changed_content_is_told(eye: Eye, changed: Received) -> None:
    """One byte of the body, or another type of content, is a change."""
    assert eye.look([changed], _CONTENT).content != AS_WRITTEN


def test_a_label_is_no_encryption(eye: Eye) -> None:
    """What is labelled OpenPGP but readable is not called OpenPGP."""
    assert not eye.look([_received(kind="multipart/encrypted")], _CONTENT).way.startswith("OpenPGP")


def test_a_notice_must_not_leak(eye: Eye) -> None:
    """A notice that holds the content is not taken for a notice."""
    assert eye.look([_received(b"you have mail\r\n", sender="")], _CONTENT).content == NOTICE
    assert eye.look([_received(sender="")], _CONTENT).content != NOTICE


def test_a_stray_copy_fails() -> None:
    """What arrives for an address that the sample does not name is never right."""
    assert not Row("x@b.test", None, Form(CLEAR), "").ok
