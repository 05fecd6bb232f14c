"""
Content filters beside Gatepost on a real Postfix: refused where mail could pass by, and both supported ways work.

What is built here follows the words that `setup postfix` prints when it refuses.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab.client import Envelope, Outcome, send
from lab.filter import Filter
from lab.gpg import Gpg
from lab.letter import canary, letter, pgp_mime
from lab.place import free_port, note, short_folder
from lab.postfix import Postfix
from lab.sink import Received, Sink
from lab.site import GatepostSite
from lab.wait import until

from gatepost.mta.postfix.filters import SUPPORTED

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

_MILTER = """
import os, sys
import Milter

class Scanner(Milter.Base):
    def header(self, name, value):
        return Milter.CONTINUE
    def eom(self):
        self.addheader("X-Filtered", "yes")
        return Milter.CONTINUE

Milter.factory = Scanner
Milter.set_flags(Milter.ADDHDRS)
os.umask(0)
Milter.runmilter("scanner", sys.argv[1], timeout=60)
"""


@dataclass(frozen=True)
class Place:
    """A site beside a Postfix, with a receiver on either side, and filters for what goes out and comes in."""

    postfix: Postfix
    site: GatepostSite
    inside: Sink
    outside: Sink
    gpg: Gpg
    out: Filter
    come: Filter
    folder: Path

    def send(self, recipient: str, word: str, *, port: int = 0, sender: str = "ann@hosp.test") -> Outcome:
        """Send tagged mail."""
        message = letter(f"{word}\r\n", sender=sender, to=recipient, subject="*secure* x")
        return send(port or self.postfix.inside_port, Envelope.of(sender, recipient), message)

    def arrived(self, sink: Sink, word: str) -> Received:
        """Give the one message in which a word can be read, in clear or decrypted."""
        until(lambda: any(self.reads(one, word) for one in sink.messages), 60, self.postfix.log)
        self.postfix.wait_queue_empty()
        (found,) = (one for one in sink.messages if self.reads(one, word))
        return found

    def reads(self, message: Received, word: str) -> bool:
        """Tell whether a word stands in a message, once it is decrypted."""
        encrypted = b"-----BEGIN PGP MESSAGE-----" in message.body
        return word.encode() in (self.gpg.decrypt(message.body).data if encrypted else message.data)


@contextmanager
def _place(services: Mapping[str, int]) -> Iterator[Place]:
    """Make a site, not yet set up; `services` are ports where the filters hand mail back, by their names."""
    with short_folder() as folder, ExitStack() as stack:
        gpg = Gpg(folder / "gpg")
        stack.callback(gpg.close)
        inside, outside = stack.enter_context(Sink()), stack.enter_context(Sink())
        out, come = (stack.enter_context(Filter(port)) for port in services.values())
        routes = {"hosp.test": inside.port, "plain.test": outside.port}
        postfix = Postfix(folder / "p", routes=routes, relay_domains=["hosp.test"])
        site = GatepostSite(folder / "gatepost", postfix, domains=["hosp.test"])
        site.gatepost("init", site.folder, "--domain", "hosp.test", "--hostname", "mail.hosp.test")
        for key, value in site.settings.items():
            site.set(key, value)
        site.gatepost("key", "import", gpg.export_to(folder / "kim.asc", "Kim <kim@plain.test>"))
        made = site.json("key", "generate", "openpgp", "--for", "hosp.test")["keys"][0]["fingerprint"]
        gpg.import_key(site.gatepost("key", "export", made).stdout.encode())
        yield Place(postfix, site, inside, outside, gpg, out, come, folder)


@contextmanager
def _running(place: Place) -> Iterator[None]:
    with place.postfix:
        place.site.start()
        try:
            yield
        finally:
            place.site.stop()


def _setup(place: Place, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    arguments = ("setup", "postfix", "--config-dir", str(place.postfix.config_dir), *options)
    return place.site.gatepost(*arguments, check=check)


def _as_printed(name: str) -> str:
    """Give the options that the printed words ask of a listener that takes mail back."""
    return " ".join(f"-o {option}" for option in re.findall(r"-o (\S+=[^\s,]*)", SUPPORTED)).replace("NAME", name)


def _filtering(place: Place, *, before_queue: bool) -> None:
    """Give every way in its filter, as an admin does."""
    postfix = place.postfix
    if before_queue:
        name, out, come = "smtpd_proxy_filter", f"127.0.0.1:{place.out.port}", f"127.0.0.1:{place.come.port}"
    else:
        out, come = f"scan:[127.0.0.1]:{place.out.port}", f"scan:[127.0.0.1]:{place.come.port}"
        name = "content_filter"
        with (postfix.config_dir / "master.cf").open("a") as master:
            master.write("scan unix - - n - 10 smtp -o smtp_send_xforward_command=yes\n")
    for port, filtered in (
        (postfix.inside_port, out),
        (postfix.submission_port, out),
        (postfix.outside_port, come),
    ):
        postfix.configure(f"127.0.0.1:{port}/inet/{name}={filtered}")
    if not before_queue:
        postfix.configure(f"pickup/unix/{name}={out}")


@pytest.fixture(scope="module", params=["before the queue", "after the queue"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Give a site with filters that come before Gatepost, refused at first and built as the refusal says."""
    back = {"filtered-out": free_port(), "filtered-in": free_port()}
    with _place(back) as place:
        _filtering(place, before_queue=request.param == "before the queue")
        before = (place.postfix.config_dir / "master.cf").read_bytes()
        refused = _setup(place, "--apply", check=False)
        assert refused.returncode == 1
        assert SUPPORTED in refused.stderr.replace("gatepost: ", "")
        assert (place.postfix.config_dir / "master.cf").read_bytes() == before
        with (place.postfix.config_dir / "master.cf").open("a") as master:
            for name, port in back.items():
                master.write(f"127.0.0.1:{port} inet n - n - 10 smtpd\n  {_as_printed(name)}\n")
        inside = ["submission", str(place.postfix.inside_port), "filtered-out"]
        place.site.set("gateway.inside_listeners", inside)
        place.site.set("gateway.outside_listeners", ["outside", "filtered-in"])
        _setup(place, "--apply")
        with _running(place):
            yield place


def test_mail_goes_out_filtered_and_protected(place: Place) -> None:
    """Tagged mail is seen by the filter in clear, once, and then leaves encrypted, once."""
    word = canary()
    assert place.send("kim@plain.test", word).ok

    copy = place.arrived(place.outside, word)
    assert word.encode() not in copy.data
    assert len([one for one in place.out.seen if word.encode() in one]) == 1
    assert copy.values("X-Filtered") == ["yes"]


def test_a_split_message_is_filtered_once(place: Place) -> None:
    """Both copies of a split message come from one pass of the filter; neither comes back to it."""
    word = canary()
    message = letter(f"{word}\r\n", sender="ann@hosp.test", to="kim@plain.test", subject="*secure* x")
    assert send(
        place.postfix.inside_port, Envelope.of("ann@hosp.test", "kim@plain.test", "ben@hosp.test"), message
    ).ok

    assert word.encode() not in place.arrived(place.outside, word).data
    assert word.encode() in place.arrived(place.inside, word).data
    assert len([one for one in place.out.seen if word.encode() in one]) == 1


def test_mail_comes_in_filtered_and_opened(place: Place) -> None:
    """Mail from outside comes back as mail from outside: it is opened, and its tag asks for nothing."""
    word = canary()
    inner = b"Content-Type: text/plain\r\n\r\n" + word.encode() + b"\r\n"
    line, body = pgp_mime(place.gpg.encrypt(inner, ["gatepost@hosp.test"]))
    message = letter(body, sender="kim@plain.test", to="ann@hosp.test", subject="[-Encrypted-] x", fields=[line])
    assert send(place.postfix.outside_port, Envelope.of("kim@plain.test", "ann@hosp.test"), message).ok

    copy = place.arrived(place.inside, word)
    assert "decrypted=openpgp" in copy.values("Gatepost-Result")[0]
    assert copy.values("Subject") == ["[unverified] x"]
    assert [b"multipart/encrypted" in one for one in place.come.seen] == [True]


def test_sendmail_is_protected(place: Place) -> None:
    """Mail by sendmail(1) passes Gatepost, by its filter or, where that stands before the queue, without one."""
    word = canary()
    message = letter(f"{word}\r\n", sender="root@hosp.test", to="kim@plain.test", subject="*secure* x")
    command = ["sendmail", "-C", place.postfix.config_dir, "-f", "root@hosp.test", "kim@plain.test"]
    subprocess.run(command, input=message, check=True, timeout=30)

    assert word.encode() not in place.arrived(place.outside, word).data


def test_the_doctor_knows_the_arrangement(place: Place) -> None:
    """Every way in passes Gatepost, those with a filter behind it."""
    told = place.site.gatepost("--json", "doctor", check=False).stdout

    assert '"status": "fail"' not in told
    assert '"passes": "no"' not in told


def test_a_filter_that_is_a_milter() -> None:
    """The other supported way: a milter before Gatepost's place sees mail in clear, and mail leaves encrypted."""
    with _place({"out": free_port(), "in": free_port()}) as place:
        socket = place.folder / "scan.sock"
        milter = subprocess.Popen([sys.executable, "-c", _MILTER, str(socket)], start_new_session=True)
        note("group", milter.pid)
        try:
            until(socket.exists, 20, "the milter listens")
            for name in ("smtpd_milters", "non_smtpd_milters"):
                place.postfix.set(**{name: f"unix:{socket} $gatepost_milter"})
            _setup(place, "--apply")
            with _running(place):
                word = canary()
                assert place.send("kim@plain.test", word).ok
                copy = place.arrived(place.outside, word)
                assert word.encode() not in copy.data
                assert copy.values("X-Filtered") == ["yes"]
        finally:
            milter.kill()
            milter.wait(60)
            note("ended", milter.pid)
