"""
What `setup postfix` makes of an admin's configuration, read back by Postfix's own postconf.
"""

import os
import shutil
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from gatepost.crypto import selfsigned
from gatepost.errors import ConfigError
from gatepost.message.direction import Site
from gatepost.mta.finding import Status
from gatepost.mta.postfix import changes, checks, files, ports
from gatepost.mta.postfix.entrances import listener_name
from gatepost.mta.postfix.gate import Gate, fingerprint
from gatepost.mta.postfix.mastercf import Service, services_of
from gatepost.mta.postfix.setup import bare, with_gatepost

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("postconf") is None, reason="needs Postfix's postconf"),
]

_MAIN = "compatibility_level = 3.6\nmyhostname = mail.near.test\n# mine\nqueue_directory = /var/spool/postfix\n"
_MASTER = """\
smtp inet n - n - - smtpd
submission inet n - n - - smtpd
  -o syslog_name=postfix/submission
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
"""


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    client = tmp_path / "client.pem"
    client.write_bytes(selfsigned.client("gw.test"))
    return Gate(
        milter_socket="unix:/run/gp/milter.sock",
        policy_socket="unix:/run/gp/policy.sock",
        reinject="127.0.0.1:10025",
        reinject_tls="127.0.0.1:10027",
        listener_pem=tmp_path / "listener.pem",
        client_pem=client,
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "postfix"
    folder.mkdir()
    return folder


@contextmanager
def _tls_server(context: ssl.SSLContext) -> Iterator[str]:
    """Shake hands with whoever connects, at the address given."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                context.wrap_socket(self.request, server_side=True).close()

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _write(directory: Path, main: str = "", master: str = "") -> None:
    (directory / "main.cf").write_text(_MAIN + main)
    (directory / "master.cf").write_text(master or _MASTER)


def _apply(directory: Path, gate: Gate) -> dict[str, Service]:
    """Apply, and give the services that Postfix then has."""
    files.write(changes.to_apply(directory, gate)[0])
    return {f"{s.name} {s.command}": s for s in services_of((directory / "master.cf").read_text())}


def _value(directory: Path, name: str) -> str:
    return files.read_configuration(directory).values((name,), expand=True)[name]


class TestApply:
    def test_twice_is_once_and_revert_gives_all_back(self, directory: Path, gate: Gate) -> None:
        """
        Applying twice gives the same bytes; taking back gives the admin's bytes and removes our files.
        """
        _write(directory, main="smtpd_milters = inet:localhost:8891")
        before = {file.name: file.read_bytes() for file in directory.iterdir()}

        _apply(directory, gate)
        once = {file.name: file.read_bytes() for file in directory.iterdir()}
        _apply(directory, gate)
        assert {file.name: file.read_bytes() for file in directory.iterdir()} == once

        files.write(changes.to_revert(directory))
        assert {file.name: file.read_bytes() for file in directory.iterdir()} == before

    def test_mode_stays(self, directory: Path, gate: Gate) -> None:
        """
        A replaced file keeps its mode.
        """
        _write(directory)
        (directory / "main.cf").chmod(0o640)

        _apply(directory, gate)

        assert (directory / "main.cf").stat().st_mode & 0o777 == 0o640

    def test_our_milter_comes_first_and_fails_closed(self, directory: Path, gate: Gate) -> None:
        """
        The admin's milters stay, in their order, after ours; ours has default_action=tempfail.
        """
        _write(
            directory, main="smtpd_milters = inet:localhost:8891, unix:dkim.sock\nmilter_default_action = accept\n"
        )

        _apply(directory, gate)

        first, _, rest = _value(directory, "smtpd_milters").partition("}")
        assert first.startswith("{ unix:/run/gp/milter.sock, protocol=6, default_action=tempfail, ")
        assert rest.strip() == "inet:localhost:8891, unix:dkim.sock"
        assert _value(directory, "non_smtpd_milters") == f"{first}}}"

    def test_macros_that_are_missing_are_added(self, directory: Path, gate: Gate) -> None:
        """An admin's lists of macros keep what they have and get what Gatepost needs; whole ones stay."""
        lists = "milter_helo_macros = {cipher}, {tls_version}\nmilter_mail_macros = {auth_type}\n"
        _write(directory, lists + "milter_connect_macros = j daemon_name\n")
        services = _apply(directory, gate)

        assert _value(directory, "milter_helo_macros") == "{cipher}, {tls_version} {cert_subject} {cert_issuer}"
        assert _value(directory, "milter_mail_macros") == "{auth_type} i {auth_authen}"
        assert _value(directory, "milter_connect_macros") == "j daemon_name"
        assert not any("macros" in name for name in services["smtp smtpd"].options)

    def test_macros_of_a_service_of_its_own(self, directory: Path, gate: Gate) -> None:
        """A service that has a list of its own gets what is missing there."""
        _write(directory, "", _MASTER.replace("smtpd\n", "smtpd -o milter_helo_macros=\n", 1))

        options = _apply(directory, gate)["smtp smtpd"].options
        assert options["milter_helo_macros"] == "{tls_version} {cert_subject} {cert_issuer}"
        assert "helo_macros" not in (directory / "main.cf").read_text()

    def test_admin_chooses_the_place(self, directory: Path, gate: Gate) -> None:
        """
        Where the admin wrote $gatepost_milter, such as after a verifier, ours stays.
        """
        _write(directory, main="smtpd_milters = inet:verify:1 $gatepost_milter inet:sign:2\n")

        services = _apply(directory, gate)

        value = _value(directory, "smtpd_milters")
        assert value.startswith("inet:verify:1 { unix:/run/gp/milter.sock,")
        assert value.endswith("} inet:sign:2")
        assert services["127.0.0.1:10025 smtpd"].options["smtpd_milters"] == "inet:verify:1  inet:sign:2"

    def test_service_with_milters_of_its_own(self, directory: Path, gate: Gate) -> None:
        """
        A service whose options replace smtpd_milters gets ours too.
        """
        _write(directory, master=_MASTER + "2525 inet n - n - - smtpd -o smtpd_milters=\n")

        services = _apply(directory, gate)

        assert services["2525 smtpd"].options["smtpd_milters"] == "$gatepost_milter"
        assert {way.passes for way in checks.ways_in(directory, gate)} == {"yes"}

    def test_every_cleanup_in_use_gets_one_behind_it(self, directory: Path, gate: Gate) -> None:
        """
        A service with a cleanup of its own keeps that cleanup's options, with 1.5 times the size.
        """
        master = _MASTER + (
            "2525 inet n - n - - smtpd -o cleanup_service_name=own -o message_size_limit=2000000\n"
            "own unix n - n - 0 cleanup -o header_checks=regexp:/x\n"
        )
        _write(directory, main="message_size_limit = 1000000\n", master=master)

        services = _apply(directory, gate)

        assert services["2525 smtpd"].options["cleanup_service_name"] == "gatepost-own"
        behind = services["gatepost-own cleanup"].options
        assert (behind["header_checks"], behind["message_size_limit"]) == ("regexp:/x", "3000000")
        assert services["gatepost-cleanup cleanup"].options["message_size_limit"] == "1500000"
        assert services["gatepost-listener cleanup"].options["message_size_limit"] == "3000000"

    def test_the_listener_follows_aliases_if_gatepost_does_not(self, directory: Path, gate: Gate) -> None:
        """
        Copies of recipients whose aliases were followed are not expanded again; senders are rewritten as ever.
        """
        _write(directory, "canonical_classes = envelope_sender, envelope_recipient\n")
        options = _apply(directory, gate)["gatepost-listener cleanup"].options
        assert options["virtual_alias_maps"] == options["recipient_canonical_maps"] == ""
        assert options["canonical_classes"] == "envelope_sender"

        options = _apply(directory, replace(gate, follows_aliases=False))["gatepost-listener cleanup"].options
        assert not {"virtual_alias_maps", "recipient_canonical_maps", "canonical_classes"} & set(options)

    def test_no_limit_stays_no_limit(self, directory: Path, gate: Gate) -> None:
        """
        message_size_limit = 0 is no limit, behind the milter too.
        """
        _write(directory, main="message_size_limit = 0\n")

        assert _apply(directory, gate)["gatepost-cleanup cleanup"].options["message_size_limit"] == "0"

    def test_socket_below_the_queue_directory_keeps_the_chroot(self, directory: Path, gate: Gate) -> None:
        """
        A socket in the queue directory is named so that an smtpd in its chroot finds it.
        """
        _write(directory, master=_MASTER.replace("smtp inet n - n", "smtp inet n - y"))
        gate = replace(gate, milter_socket="unix:/var/spool/postfix/gatepost/milter.sock")

        services = _apply(directory, gate)

        assert services["smtp smtpd"].chroot == "y"
        assert _value(directory, "smtpd_milters").startswith("{ unix:gatepost/milter.sock,")

    def test_other_socket_takes_the_service_out_of_its_chroot(self, directory: Path, gate: Gate) -> None:
        """
        Where the socket cannot be seen from the chroot, the service leaves it and the admin is told.
        """
        _write(directory, master=_MASTER.replace("smtp inet n - n", "smtp inet n - y"))

        assert _apply(directory, gate)["smtp smtpd"].chroot == "n"
        assert any("leaves its chroot" in note for note in changes.to_apply(directory, gate)[1].notes)

    def test_tcp_socket(self, directory: Path, gate: Gate) -> None:
        """
        A milter on TCP is written as Postfix writes it.
        """
        _write(directory)

        _apply(directory, replace(gate, milter_socket="inet:9900@127.0.0.1"))

        assert _value(directory, "smtpd_milters").startswith("{ inet:127.0.0.1:9900,")


class TestRoutes:
    @pytest.mark.parametrize("name", ["allow_percent_hack", "swap_bangpath"])
    def test_no_local_part_is_a_route(self, directory: Path, gate: Gate, name: str) -> None:
        """
        Postfix reads no route in a local part, whatever the admin had; --revert gives the admin's line back.
        """
        _write(directory, main=f"{name} = yes\n")
        before = (directory / "main.cf").read_bytes()

        _apply(directory, gate)
        assert _value(directory, name) == "no"

        files.write(changes.to_revert(directory))
        assert (directory / "main.cf").read_bytes() == before

    @pytest.mark.parametrize(
        ("file", "text", "place"),
        [
            ("main.cf", "{name} = yes\n", "main.cf"),
            ("main.cf", "{name} =\n", "main.cf"),
            ("master.cf", "rewrite unix - - n - - trivial-rewrite -o {name}=yes\n", "master.cf, service rewrite"),
        ],
    )
    def test_doctor_fails_where_it_is(
        self, directory: Path, gate: Gate, *, file: str, text: str, place: str
    ) -> None:
        """
        Where Postfix reads routes after all, in main.cf or by a service's option, the doctor fails.
        """
        names = ("allow_percent_hack", "swap_bangpath")
        _write(directory)
        _apply(directory, gate)
        with (directory / file).open("a") as target:
            target.writelines(text.format(name=name) for name in names)

        found = [what for what in _failures(directory, gate) if place in what and "did not judge" in what]
        assert [what.split()[0] for what in found] == list(names)

    def test_doctor_finds_nothing_after_setup(self, directory: Path, gate: Gate) -> None:
        """
        After `setup` nothing is read as a route.
        """
        _write(directory)
        _apply(directory, gate)

        assert not any("did not judge" in what for what in _failures(directory, gate))

    def test_doctor_knows_subdomains(self, directory: Path, gate: Gate) -> None:
        """
        `.hosp.test` in internal_domains means its subdomains also where local(8) serves one.
        """
        _write(directory, main="mydestination = Mail.hosp.test\n")

        what = _failures(directory, gate)

        assert any("forward_path is set, and local(8) serves mail.hosp.test" in one for one in what)


def _failures(directory: Path, gate: Gate) -> list[str]:
    site = Site(frozenset({".hosp.test"}))
    return [one.what for one in checks.postfix_checks(directory, gate, site) if one.status is Status.FAIL]


class TestRefusals:
    @pytest.mark.parametrize(
        ("main", "said"),
        [
            (
                "content_filter = amavis:[127.0.0.1]:10024\n",
                r"(?s)filter amavis:\S+ is not supported so.*Two arrangements are supported\.\n\(1\).*\n\(2\)",
            ),
            ("smtpd_proxy_filter = 127.0.0.1:9\n", r"filter 127\.0\.0\.1:9 is not supported so"),
            ("smtpd_milter_maps = inline:{x=DISABLE}\n", "smtpd_milter_maps can take Gatepost off"),
            ("receive_override_options = no_milters\n", "no_milters passes Gatepost by"),
            ("smtpd_milters = unix:/run/gp/milter.sock\n", "already name unix:/run/gp/milter.sock"),
        ],
    )
    def test_unsupported_arrangement(self, directory: Path, gate: Gate, main: str, said: str) -> None:
        """
        An arrangement in which mail could pass by is refused with what to do, and nothing is written.
        """
        _write(directory, main=main)

        with pytest.raises(ConfigError, match=said):
            changes.to_apply(directory, gate)

    def test_exempt_listener_is_left_alone(self, directory: Path, gate: Gate) -> None:
        """
        A listener that the admin exempted keeps its arrangement.
        """
        _write(directory, master=_MASTER + "2525 inet n - n - - smtpd -o content_filter=x:y\n")

        services = _apply(directory, replace(gate, exempt=("2525",)))

        assert services["2525 smtpd"].options == {"content_filter": "x:y"}

    def test_other_milters_chroot_path(self, directory: Path, gate: Gate) -> None:
        """
        A service is not taken from the chroot that another milter's path needs.
        """
        _write(
            directory, "smtpd_milters = unix:/dkim.sock\n", _MASTER.replace("smtp inet n - n", "smtp inet n - y")
        )

        with pytest.raises(ConfigError, match=r"the milter unix:/dkim\.sock could not be found"):
            with_gatepost(bare(files.read_configuration(directory)), gate)

    def test_missing_configuration(self, tmp_path: Path) -> None:
        """
        A directory without main.cf is named.
        """
        with pytest.raises(ConfigError, match=r"there is no main\.cf"):
            files.read_configuration(tmp_path / "none")


class TestListeners:
    @pytest.mark.parametrize(
        ("line", "name"),
        [
            ("smtp inet n - n - - smtpd", "smtp"),
            ("25 inet n - n - - smtpd", "smtp"),
            ("smtpd pass - - n - - smtpd", "smtp"),
            ("127.0.0.1:587 inet n - n - - smtpd", "submission"),
            ("[::1]:smtps inet n - n - - smtpd", "submissions"),
            ("2525 inet n - n - - smtpd", "2525"),
            ("2587 inet n - n - - smtpd -o syslog_name=postfix/submission", "submission"),
            ("smtp inet n - n - - smtpd -o milter_macro_daemon_name=ORIGINATING", "ORIGINATING"),
        ],
    )
    def test_name(self, line: str, name: str) -> None:
        """
        A listener is named after its port's service, or as the admin named it.
        """
        (service,) = services_of(f"{line}\n")

        assert listener_name(service) == name

    def test_port_of_another_service_is_passed_over(self, directory: Path, gate: Gate) -> None:
        """
        A port that master.cf gives to another service is not taken; a port that the admin set is not replaced.
        """
        _write(directory, master=_MASTER + "localhost:10025 inet n - n - - smtpd\n")
        wanted = gate.listeners

        chosen = changes.chosen_listeners(directory, wanted, fixed=())
        assert "10025" not in chosen["reinject"]
        assert len(set(chosen.values())) == 2
        with pytest.raises(ConfigError, match=r"127\.0\.0\.1:10025 is in use"):
            changes.chosen_listeners(directory, wanted, fixed=wanted)

    def test_listener_of_a_postfix_not_reloaded_yet_is_ours(self, directory: Path, gate: Gate) -> None:
        """
        After `--revert` without a reload the old listener still runs; its certificate tells that it is ours.
        """
        _write(directory)
        own, other = (fingerprint(gate.client_pem), "00:" * 31 + "00")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(gate.client_pem)
        with _tls_server(context) as address:
            assert ports.shows(address, own)
            assert not ports.shows(address, other)
            with pytest.raises(ConfigError, match="is in use"):
                changes.chosen_listeners(directory, {"reinject": address}, fixed={"reinject"})
            running = [address]
            chosen = changes.chosen_listeners(
                directory, {"reinject": address}, fixed={"reinject"}, running=running
            )
        assert chosen == {"reinject": address}
        assert not ports.shows(address, own)

    def test_own_listener_stays_where_it_is(self, directory: Path, gate: Gate) -> None:
        """
        A listener that runs already is not taken for somebody else's.
        """
        _write(directory)
        _apply(directory, gate)
        named = ports.named_ports(services_of(_MASTER))

        assert ports.free(gate.reinject, named=named, ours=(gate.reinject,))


class TestTlsRoute:
    def options(self, directory: Path, gate: Gate, main: str = "") -> Mapping[str, str]:
        """Apply to this main.cf, and give the options of the TLS route."""
        _write(directory, main)
        return _apply(directory, gate)["gatepost-tls smtp"].options

    def test_it_can_do_dane(self, directory: Path, gate: Gate) -> None:
        """`dane-only` needs hosts from DNS, with DNSSEC, and no shortcut round either (RFC 7672)."""
        options = self.options(directory, gate, "smtp_dns_resolver_options = res_defnames\n")

        assert options["smtp_dns_support_level"] == "dnssec"
        assert options["smtp_host_lookup"] == "dns"
        assert options["smtp_dns_resolver_options"] == ""
        assert options["ignore_mx_lookup_error"] == "no"
        assert options["smtp_tls_dane_insecure_mx_policy"] == "dane"

    def test_names_of_the_hosts_file_stay_known(self, directory: Path, gate: Gate) -> None:
        """A site whose next hops stand in its hosts file finds them there as before, after DNS."""
        assert (
            self.options(directory, gate, "smtp_host_lookup = native, dns\n")["smtp_host_lookup"] == "dns, native"
        )

    @pytest.mark.parametrize("main", ["smtp_dns_support_level = disabled\n", "disable_dns_lookups = yes\n"])
    def test_a_site_without_dns_stays_without(self, directory: Path, gate: Gate, main: str) -> None:
        """Where the admin switched DNS off, every next hop is looked up as the admin says."""
        options = self.options(directory, gate, main)

        assert not {"smtp_dns_support_level", "smtp_host_lookup"} & options.keys()

    def test_a_newer_postfix_is_told_more(
        self, directory: Path, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a sender who waives TLS and one who asks for it, the route obeys the second (RFC 8689)."""
        newer = tmp_path / "newer" / "postconf"
        newer.parent.mkdir()
        newer.write_text(_NEWER_POSTCONF.format(postconf=shutil.which("postconf")))
        newer.chmod(0o755)
        monkeypatch.setenv("PATH", f"{newer.parent}:{os.environ['PATH']}")

        options = self.options(directory, gate)

        assert options["tls_required_enable"] == "no"
        assert options["smtp_requiretls_policy"] == "enforce"

    def test_an_older_postfix_is_told_nothing_that_it_does_not_know(self, directory: Path, gate: Gate) -> None:
        """An option that Postfix does not know would stand there as a mistake."""
        names = {"tls_required_enable", "smtp_requiretls_policy"}
        known = {line.split(" ")[0] for line in _postconf("-d").splitlines()}

        assert self.options(directory, gate).keys() & names == names & known


_NEWER_POSTCONF = """\
#!/bin/sh
{postconf} "$@" || exit
for name in "$@"; do
    case "$name" in
        tls_required_enable) echo "$name = yes" ;;
        smtp_requiretls_policy) echo "$name = inline:{{ {{ localhost = opportunistic }} }} enforce" ;;
    esac
done
"""


def _postconf(*arguments: str) -> str:
    return subprocess.run(["postconf", *arguments], capture_output=True, text=True, check=True).stdout
