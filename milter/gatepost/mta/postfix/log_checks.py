"""
Where Postfix logs, and the checks of whether Gatepost can follow that log.
"""

import grp
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from gatepost.errors import ConfigError
from gatepost.mta.finding import Finding, fail, ok, warn
from gatepost.mta.postfix import postconf
from gatepost.mta.postfix.delivery_log import JOURNAL

USER = "gatepost-deliveries"
_GROUPS = ("gatepost", "adm", "systemd-journal")  # of its unit
_USUAL = (Path("/var/log/mail.log"), Path("/var/log/maillog"))
_JOURNAL_SOCKET = Path("/run/systemd/journal/socket")
_TIMEOUT = 10.0
_SILENCE = timedelta(minutes=5)


def where(directory: Path) -> str:
    """Tell where the Postfix configured in `directory` seems to log, as `[postfix] log` names it; or empty."""
    try:
        own = postconf.value(directory, "maillog_file")
    except ConfigError:
        return ""
    if own.startswith("/") and own != "/dev/stdout":
        return own
    found = next((str(path) for path in _USUAL if path.is_file()), "")
    return found or (JOURNAL if _JOURNAL_SOCKET.exists() else "")


def log_checks(directory: Path, log: str) -> Iterator[Finding]:
    """Check the log that is followed, or tell which one could be; Postfix's faults are told by other checks."""
    try:
        own = postconf.value(directory, "maillog_file")
        level = postconf.value(directory, "smtp_tls_loglevel")
    except ConfigError:
        return
    if not log:
        yield warn("[postfix] log is empty: how copies went is not recorded", _proposal(where(directory)))
        return
    if own and own != log:
        yield fail(f"[postfix] log = {log}, but Postfix logs to {own}", _proposal(own))
    else:
        yield _journal_check() if log == JOURNAL else _file_check(Path(log))
    if level == "0":
        yield warn(
            "smtp_tls_loglevel = 0: of copies that go by the ordinary transport the log does not tell TLS",
            f"`postconf -c {directory} -e 'smtp_tls_loglevel = 1'`, then `postfix -c {directory} reload`",
        )


def following_check(seen: datetime | None, now: datetime) -> Finding:
    """Check that the service is at work, which notes at least once a minute how far it has come."""
    remedy = "start `gatepost run deliveries`, and see its own log"
    if seen is None:
        return warn("Postfix's log was never followed yet", remedy)
    if now - seen > _SILENCE:
        return fail(f"Postfix's log is not followed since {seen.isoformat(timespec='seconds')}", remedy)
    return ok("Postfix's log is being followed")


def _proposal(place: str) -> str:
    if not place:
        return "let Postfix log (postlogd(8), or a syslog), and name the log there"
    return f'write log = "{place}" there, then start `gatepost run deliveries`'


def _journal_check() -> Finding:
    if shutil.which("journalctl"):
        return ok("Postfix's log in the journal is followed")
    return fail('[postfix] log = "journal", but journalctl is not there', "install systemd, or name a file")


def _file_check(log: Path) -> Finding:
    try:
        mode = log.lstat().st_mode
    except OSError as error:
        return fail(f"Postfix's log {log}: {error.strerror}", "name the file that Postfix's lines are written to")
    if not stat.S_ISREG(mode):
        return fail(f"Postfix's log {log} is no regular file, and is not followed", "name the file itself")
    if not _readable(log):
        return fail(
            f"{USER} may not read Postfix's log {log}",
            f"`chgrp adm {log}` and `chmod g+r {log}`, and let what rotates it do the same",
        )
    return ok(f"Postfix's log {log} is followed")


def _readable(log: Path) -> bool:
    """Tell whether the service may read the log: tried as its user where there is one and root asks."""
    try:
        user = pwd.getpwnam(USER)
        groups = [group.gr_gid for group in grp.getgrall() if group.gr_name in _GROUPS]
        done = subprocess.run(
            ["test", "-r", str(log)],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=groups,
            check=False,
            timeout=_TIMEOUT,
        )
    except (KeyError, OSError):
        return os.access(log, os.R_OK)
    return not done.returncode
