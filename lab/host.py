"""
A copy of this host, and in it Gatepost's services as systemd would start them, each as its own user.

The copy is an overlay over the host's files in a mount namespace: users, /etc and /var may be changed in it as an
installation changes them, and nothing of that outlives it. Network and process numbers are the host's. It needs
root and the right to mount. Of a unit only what decides about files is followed: user, groups, umask,
RuntimeDirectory=, StateDirectory= and LoadCredential=; its sandbox needs systemd itself.
"""

import configparser
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.place import note
from lab.postfix import Postfix
from lab.wait import until

_REPOSITORY = Path(__file__).parents[1]
_UNITS = _REPOSITORY / "systemd"
_COMMAND = "/usr/local/bin/gatepost"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"  # systemd.exec(5)
# $1: a folder for the layers; the rest: folders that are shared with the host instead of copied
_MAKE = r"""
set -eu
layers=$1; shift
mount -t tmpfs -o mode=755 tmpfs "$layers"
mkdir "$layers/upper" "$layers/work" "$layers/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" "$layers/root"
for folder in /proc /dev /sys "$@"; do
  mkdir -p "$layers/root$folder"
  mount --rbind "$folder" "$layers/root$folder"
done
exec chroot "$layers/root" sh -c 'echo made; exec sleep infinity'
"""


def may_mount() -> bool:
    """Tell whether this host lets us mount an overlay in a namespace of our own."""
    script = (
        "mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/r && "
        "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"
    )
    return not subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, check=False
    ).returncode


class Host:
    """
    One copy. `folder` and the repository are shared with the host; use it as a context manager.

    On entry it is as `make install`, systemd-sysusers and systemd-tmpfiles leave a host.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._layers = folder / "layers"
        self._holder: subprocess.Popen[bytes] | None = None
        self._services: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self._layers.mkdir()
        arguments = [str(self._layers), str(self.folder), str(_REPOSITORY)]
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _MAKE, "sh", *arguments],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        note("group", self._holder.pid)
        assert self._holder.stdout is not None  # noqa: S101 - it was opened with a pipe
        if self._holder.stdout.readline() != b"made\n":
            raise RuntimeError("the copy of the host could not be made; see what mount(8) said above")
        try:
            self._install()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _install(self) -> None:
        """Do what `make install` does, with the virtual environment that is there, and make users and folders."""
        for program in (Path(sys.executable), Path(sys.executable).resolve()):
            self.run("chmod", "o+x", *(str(parent) for parent in program.parents))
        command = f'#!/bin/sh\nexec {sys.executable} -P -m gatepost "$@"\n'
        self.run("sh", "-c", f"cat > {_COMMAND} && chmod 755 {_COMMAND}", data=command.encode())
        self.run("install", "-d", "/etc/gatepost/rules")
        self.run("sh", "-c", f"cp {_REPOSITORY}/rules/*.toml /etc/gatepost/rules/")
        self.run("systemd-sysusers", str(_UNITS / "gatepost.sysusers.conf"))
        self.run("systemd-tmpfiles", "--create", str(_UNITS / "gatepost.tmpfiles.conf"))

    def inside(self, *command: str) -> list[str]:
        """Give the command that runs a command in the copy."""
        if self._holder is None:
            raise RuntimeError("the copy of the host is not there")
        return ["nsenter", f"--target={self._holder.pid}", "--mount", "--root", "--wd", *command]

    def run(self, *command: str, data: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy as root; raise RuntimeError with what it printed if it fails."""
        done = subprocess.run(self.inside(*command), input=data, capture_output=True, check=False, timeout=120)
        out, err = (octets.decode(errors="replace") for octets in (done.stdout, done.stderr))
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{out}{err}")
        return subprocess.CompletedProcess(command, done.returncode, out, err)

    def gatepost(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `gatepost` in the copy as root, with root's usual umask."""
        return self.run("sh", "-c", f'umask 022; exec {_COMMAND} "$@"', "sh", *arguments, check=check)

    # -- services -----------------------------------------------------------------------------------------

    def start(self, *services: str) -> None:
        """Start services by the names of their units (`keys`), each as its unit says, and wait for `ready`."""
        for service in services:
            unit = (_UNITS / f"gatepost-{service}.service").read_text()
            command = self._prepared(service, unit)
            with self._log(service).open("wb") as log:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            note("group", process.pid)
            self._services[service] = process
            until(lambda name=service: self._ready(name), 60, lambda name=service: f"ready: {self.log(name)}")  # type: ignore[misc]

    def _prepared(self, service: str, unit: str) -> list[str]:
        """Make the folders that systemd makes for a unit, and give the command that starts it."""
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read_string(unit)
        values = parser["Service"]
        user, group, owner = values["User"], values["Group"], f"{values['User']}:{values['Group']}"
        for kind, parent in (("Runtime", "/run"), ("State", "/var/lib")):
            if f"{kind}Directory" in values:
                folder = f"{parent}/{values[f'{kind}Directory']}"
                self.run("install", "-d", "-m", values[f"{kind}DirectoryMode"], "-o", user, "-g", group, folder)
        credentials = f"/run/credentials/gatepost-{service}.service"
        self.run("install", "-d", "-m", "500", "-o", user, credentials)
        for name, source in re.findall(r"^LoadCredential=([^:\n]+):(.+)$", unit, re.MULTILINE):
            self.run("install", "-m", "400", "-o", user, source, f"{credentials}/{name}")
        self.run("chown", owner, credentials)
        arguments = values["ExecStart"].replace("/usr/bin/gatepost", _COMMAND)
        variables = f"PATH={_PATH} CREDENTIALS_DIRECTORY={credentials}"
        script = f"umask {values['UMask']}; export {variables}; exec {arguments}"
        more = values.get("SupplementaryGroups", "").split()
        groups = f"--groups={','.join([group, *more])}" if more else "--init-groups"
        who = [f"--reuid={user}", f"--regid={group}", groups, "--inh-caps=-all", "--bounding-set=-all"]
        return self.inside("setpriv", *who, "--no-new-privs", "--reset-env", "sh", "-c", script)

    def _ready(self, service: str) -> bool:
        if self._services[service].poll() is not None:
            raise RuntimeError(f"the service {service} ended at once:\n{self.log(service)}")
        return re.search(r"^ready$", self.log(service), re.MULTILINE) is not None

    def _log(self, service: str) -> Path:
        return self.folder / f"{service}.log"

    def log(self, service: str) -> str:
        """Give what a service wrote since its last start."""
        return self._log(service).read_text(errors="replace")

    def stop_services(self) -> None:
        """Stop all services, last started first."""
        while self._services:
            _, process = self._services.popitem()
            process.terminate()
            try:
                process.wait(40)
            finally:
                _kill(process)

    def stop(self) -> None:
        """Stop everything; the copy is gone with its last process."""
        self.stop_services()
        if self._holder is not None:
            _kill(self._holder)
            self._holder = None
        shutil.rmtree(self._layers, ignore_errors=True)


class HostPostfix(Postfix):
    """A private Postfix that runs in a copy of the host."""

    def __init__(self, host: Host, folder: Path, **options: object) -> None:
        self._host = host
        super().__init__(folder, **options)  # type: ignore[arg-type]

    def _run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        return self._host.run(program, "-c", str(self.config_dir), *arguments, check=check)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    note("ended", process.pid)
