"""
A private Postfix: own configuration, queue and data directory in one folder, loopback only, high ports.

It needs root, as Postfix does. Three listeners stand for the ways that mail enters a site:

  * `inside_port`: clients in `mynetworks`, as from a groupware server;
  * `submission_port`: the same under the daemon name `submission`;
  * `outside_port`: daemon name `outside`; accepts mail for the site's own domains only.

Domains are routed by a transport table to receivers' ports; what is not in it bounces, or goes where DNS says if
that is asked for. There is no chroot and no syslog: the log lies in `maillog`. All of it can run in a namespace.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.namespace import Namespace, command_in
from lab.place import free_port, note
from lab.wait import until, until_port_answers

_FLUSH_SECONDS = 15

_MASTER = """\
127.0.0.1:{inside} inet n - n - 30 smtpd
127.0.0.1:{submission} inet n - n - 10 smtpd
    -o milter_macro_daemon_name=submission
127.0.0.1:{outside} inet n - n - 20 smtpd
    -o milter_macro_daemon_name=outside
    -o mynetworks=127.255.255.255/32
pickup    unix  n - n 60    1 pickup
cleanup   unix  n - n -     0 cleanup
qmgr      unix  n - n 300   1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -     - trivial-rewrite
bounce    unix  - - n -     0 bounce
defer     unix  - - n -     0 bounce
trace     unix  - - n -     0 bounce
verify    unix  - - n -     1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -     - proxymap
proxywrite unix - - n -     1 proxymap
smtp      unix  - - n -    20 smtp
relay     unix  - - n -    20 smtp
lmtp      unix  - - n -    10 lmtp
showq     unix  n - n -     - showq
error     unix  - - n -     - error
retry     unix  - - n -     - error
discard   unix  - - n -     - discard
local     unix  - n n -     5 local
virtual   unix  - n n -     5 virtual
anvil     unix  - - n -     1 anvil
scache    unix  - - n -     1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

_MAIN: dict[str, str] = {
    "compatibility_level": "3.6",
    "inet_interfaces": "loopback-only",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "mydestination": "",
    "local_recipient_maps": "",
    "alias_maps": "",
    "alias_database": "",
    "append_dot_mydomain": "no",
    "biff": "no",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtpd_peername_lookup": "no",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
    "smtp_dns_support_level": "disabled",
    "smtp_host_lookup": "native",
    "smtputf8_autodetect_classes": "all",
    "message_size_limit": "52428800",
    "header_size_limit": "102400",
    "mailbox_size_limit": "0",
    "in_flow_delay": "0",
    "queue_run_delay": "1s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "2s",
    "transport_retry_time": "2s",
    "smtp_connect_timeout": "5s",
    "smtp_helo_timeout": "10s",
    "destination_concurrency_limit_cohort": "1",
}


class Postfix:
    """
    One private instance. Use it as a context manager, or call `start` and `stop`.

    `routes` maps a domain to the receiver's port or to a whole transport (`smtp:[127.0.0.1]:2525`);
    `relay_domains` are the site's own, accepted from outside; `settings` go into main.cf last. It runs on the
    machine `within`. With `dns`, mail for a domain without a route goes where DNS says.
    """

    def __init__(
        self,
        folder: Path,
        *,
        hostname: str = "mail.lab.test",
        routes: Mapping[str, int | str] | None = None,
        relay_domains: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        debug: bool = False,
        within: Namespace | None = None,
        dns: bool = False,
    ) -> None:
        if os.geteuid() != 0:
            raise PermissionError(
                "a private Postfix needs root: Postfix starts as root and drops to its own users"
            )
        self.folder = folder
        self.within = within
        self._dns = dns
        self.config_dir = folder / "etc"
        self.queue_dir = folder / "spool"
        self.data_dir = folder / "data"
        self.maillog = folder / "maillog"
        self.hostname = hostname
        self.inside_port = free_port()
        self.submission_port = free_port()
        self.outside_port = free_port()
        self._routes = dict(routes or {})
        self._write_configuration(relay_domains, dict(settings or {}), debug=debug)

    def _write_configuration(self, relay_domains: Sequence[str], settings: dict[str, str], *, debug: bool) -> None:
        for part in (self.folder, self.config_dir, self.queue_dir, self.data_dir):
            part.mkdir(parents=True, exist_ok=True)
            part.chmod(0o755)
        _give_to_postfix(self.data_dir)
        main: dict[str, str] = _MAIN | {
            "myhostname": self.hostname,
            "queue_directory": str(self.queue_dir),
            "data_directory": str(self.data_dir),
            "maillog_file": str(self.maillog),
            "maillog_file_prefixes": str(self.folder),
            "transport_maps": f"texthash:{self.config_dir}/transport",
            "relay_domains": ", ".join(relay_domains),
        }
        if self._dns:
            main |= {"smtp_dns_support_level": "enabled", "smtp_host_lookup": "dns"}
        if debug:
            main |= {"debug_peer_list": "127.0.0.1", "debug_peer_level": "2"}
        text = "".join(f"{key} = {value}\n" for key, value in (main | settings).items())
        (self.config_dir / "main.cf").write_text(text)
        ports = {"inside": self.inside_port, "submission": self.submission_port, "outside": self.outside_port}
        (self.config_dir / "master.cf").write_text(_MASTER.format(**ports))
        self._write_routes()

    def _write_routes(self) -> None:
        lines = [
            f"{domain} {f'smtp:[127.0.0.1]:{target}' if isinstance(target, int) else target}\n"
            for domain, target in self._routes.items()
        ]
        if not self._dns and "*" not in self._routes:
            lines.append("* error:5.1.2 this domain has no receiver in the lab\n")
        (self.config_dir / "transport").write_text("".join(lines))

    def route(self, domain: str, target: int | str) -> None:
        """Send mail for `domain` to a port of 127.0.0.1 or by a whole transport, from the next message on."""
        self._routes[domain] = target
        self._write_routes()
        if self.running:
            self.reload()

    def _run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        return subprocess.run(
            command_in(self.within, [program, "-c", str(self.config_dir), *arguments]),
            capture_output=True,
            text=True,
            check=check,
            timeout=60,
        )

    def postfix(self, command: str) -> None:
        """
        Run `postfix -c … COMMAND`.

        Raises RuntimeError with what Postfix printed and the end of its log.
        """
        done = self._run("postfix", command, check=False)
        if done.returncode:
            tail = "\n".join(self.log().splitlines()[-20:])
            raise RuntimeError(f"postfix {command} failed ({done.returncode}): {done.stderr.strip()}\n{tail}")

    def start(self) -> Self:
        """Start and wait until all three listeners answer."""
        note("postfix", self.config_dir)
        # It may give up on a master that is slow to begin, on a busy host: the listeners tell whether it did.
        said = self._run("postfix", "start", check=False).stderr
        for port in (self.inside_port, self.submission_port, self.outside_port):
            until_port_answers(
                port,
                why=lambda: f"Postfix does not listen there: {said}; its log:\n{self.log()[-3000:]}",
                within=self.within,
            )
        return self

    def stop(self) -> None:
        """Stop, by force if need be, and wait until the master process is gone."""
        if not self.running:
            return
        self._run("postfix", "abort", check=False)
        until(lambda: not self.running, 10, "Postfix's master process ends")

    def reload(self) -> None:
        """Make Postfix read its configuration again."""
        self.postfix("reload")

    def restart(self) -> None:
        """Stop and start, as a change of listeners needs."""
        self.stop()
        self.start()

    @property
    def running(self) -> bool:
        """Whether the master process lives."""
        try:
            pid = int((self.queue_dir / "pid" / "master.pid").read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return False
        return state != "Z"

    def set(self, **settings: str) -> None:
        """Change settings in main.cf; call `reload` for them to count."""
        pairs = [f"{key}={value}" for key, value in settings.items()]
        self._run("postconf", "-e", *pairs)

    def configure(self, option: str) -> None:
        """Set an option of a service in master.cf, `SERVICE/TYPE/NAME=VALUE`; call `reload` for it to count."""
        self._run("postconf", "-P", option)

    def option(self, name: str) -> str:
        """Give the value of an option of a service in master.cf, `SERVICE/TYPE/NAME`."""
        return self._run("postconf", "-Ph", name).stdout.strip()

    def get(self, name: str) -> str:
        """Give the value of a main.cf setting."""
        return self._run("postconf", "-h", name).stdout.strip()

    def log(self) -> str:
        """Give the whole log."""
        return self.maillog.read_text(errors="replace") if self.maillog.exists() else ""

    def queue(self) -> list[dict[str, Any]]:
        """Give what is queued, as `postqueue -j` prints it."""
        return [json.loads(line) for line in self._run("postqueue", "-j").stdout.splitlines()]

    def delete(self, queue_id: str) -> None:
        """Delete one message from the queue."""
        self._run("postsuper", "-d", queue_id)

    def flush(self) -> None:
        """Try every deferred message now."""
        self._run("postqueue", "-f")

    def wait_queue_empty(self, timeout: float = 30) -> None:
        """
        Wait until nothing is queued; raise TimeoutError naming what still is.

        What is still there after a while is tried at once: a queue manager that was started anew leaves mail that
        it was to try later in its queue `incoming`, where nothing looks for it until other mail comes.
        """
        started = time.monotonic()
        flushed = started
        while queued := self.queue():
            now = time.monotonic()
            if now > started + timeout:
                raise TimeoutError(f"still queued after {timeout} s: {queued}\n{self.log()[-3000:]}")
            if now > flushed + _FLUSH_SECONDS:
                flushed = now
                self.flush()
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _give_to_postfix(folder: Path) -> None:
    """Make the account `postfix` the owner, as Postfix wants of its data directory."""
    shutil.chown(folder, "postfix", "postfix")
