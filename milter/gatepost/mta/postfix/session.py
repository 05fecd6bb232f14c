"""
One run of `gatepost setup postfix`: looks, changes under a lock, and reports.

Besides Postfix's files it writes into gatepost.toml where that Postfix is, and the listeners' addresses if it had
to choose others.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from gatepost.errors import ConfigError
from gatepost.mta.postfix import changes, files, log_checks, ports, reach
from gatepost.mta.postfix.files import FileChange
from gatepost.mta.postfix.gate import Gate, fingerprint
from gatepost.mta.postfix.marks import BEGIN, END, lines_of
from gatepost.mta.postfix.postconf import mail_owner
from gatepost.mta.postfix.toml_keys import with_key

_USUAL = {
    "reinject": "127.0.0.1:10025",
    "reinject_tls": "127.0.0.1:10027",
    "behind_inside": "127.0.0.1:10029",
    "behind_outside": "127.0.0.1:10031",
    "behind_notices": "127.0.0.1:10033",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What is or would be changed, and what the admin should know and do next."""

    files: tuple[FileChange, ...]
    notes: tuple[str, ...]
    directory: Path

    @property
    def changes(self) -> tuple[FileChange, ...]:
        """The files that are not already as they should be."""
        return tuple(change for change in self.files if change.before != change.after)

    def text(self, *, done: bool) -> str:
        """Tell it to a person: a diff of what would be, or the names of what was changed."""
        if not self.changes:
            return "\n".join((f"{self.directory}: nothing to change", *self._notes()))
        if not done:
            shown = "\n".join(change.diff() for change in self.changes)
            return "\n".join((shown.rstrip("\n"), *self._notes(), "nothing is written yet: --apply does it"))
        written = [f"{'removed' if change.after is None else 'written'}: {change.path}" for change in self.changes]
        return "\n".join(
            (*written, *self._notes(), f"now run: postfix -c {self.directory} reload", *self._restart())
        )

    def _restart(self) -> list[str]:
        """Tell what else to do: Gatepost reads its settings at start only."""
        changed = any(change.path.suffix == ".toml" for change in self.changes)
        return ["and restart Gatepost: its settings are changed"] if changed else []

    def fragments(self) -> str:
        """Give the blocks alone, by file, for those who put them in by their own means."""
        return "\n".join(f"== {change.path}\n{_blocks(change.after or '')}" for change in self.files)

    def _notes(self) -> list[str]:
        return [f"note: {note}" for note in self.notes]


@dataclass(frozen=True, slots=True)
class SetupSession:
    """
    One run: the site's settings file, Postfix's directory as asked for and as configured, what Postfix must know.

    `aliases` is what `[gateway] aliases` will be.
    """

    site_file: Path
    directory: Path
    configured: Path
    gate: Gate
    aliases: str

    def preview(self) -> Report:
        """Work out what `apply` would do."""
        planned, _ = self._plan()
        return planned

    def apply(self) -> Report:
        """Make the changes; raises ConfigError, and changes nothing, for what is not supported."""
        with files.locked(self.directory):
            planned, ordered = self._plan()
            reach.open_to(mail_owner(self.directory), (self.gate.milter_socket, self.gate.policy_socket))
            files.write(ordered)
        return planned

    def revert(self) -> Report:
        """Take the changes back."""
        with files.locked(self.directory):
            ordered = [*changes.to_revert(self.directory), *self._site_reverted()]
            files.write(ordered)
        return Report(tuple(ordered), (), self.directory)

    def _site_reverted(self) -> list[FileChange]:
        """Without the listeners behind alias expansion, Gatepost must follow aliases itself."""
        before = files.read(self.site_file)
        if before is None or _aliases_in(before) != "expanded":
            return []
        return [FileChange(self.site_file, before, with_key(before, "gateway", "aliases", "resolve"))]

    def _plan(self) -> tuple[Report, list[FileChange]]:
        gate = self._with_free_listeners()
        ordered, setup = changes.to_apply(self.directory, gate)
        ordered.append(self._site_change(gate))
        return Report(tuple(ordered), (*setup.notes, *self._log_note()), self.directory), ordered

    def _log_note(self) -> list[str]:
        """Tell which log could be followed, where none is named."""
        site = tomllib.loads(files.read(self.site_file) or "")
        if site.get("postfix", {}).get("log") or not (place := log_checks.where(self.directory)):
            return []
        return [
            f'Postfix logs to {place}: with log = "{place}" under [postfix] `gatepost why` tells how copies went'
        ]

    def _with_free_listeners(self) -> Gate:
        wanted = self.gate.listeners
        fixed = [key for key, address in wanted.items() if address != _USUAL[key]]
        own = fingerprint(self.gate.listener_pem)
        running = [address for address in wanted.values() if ports.shows(address, own)]
        chosen = changes.chosen_listeners(self.directory, wanted, fixed=fixed, running=running)
        return self.gate.listening(chosen)

    def _site_change(self, gate: Gate) -> FileChange:
        before = files.read(self.site_file)
        if before is None:
            raise ConfigError(f"{self.site_file}: no such file; make a site by `gatepost init`")
        after = before
        if self.directory != self.configured or "config_directory" not in tomllib.loads(before).get("postfix", {}):
            after = with_key(after, "postfix", "config_directory", str(self.directory))
        for key, address in gate.listeners.items():
            if address != self.gate.listeners[key]:
                after = with_key(after, "gateway", key, address)
        if self.aliases != _aliases_in(before):
            after = with_key(after, "gateway", "aliases", self.aliases)
        return FileChange(self.site_file, before, after)


def _aliases_in(site: str) -> str:
    return str(tomllib.loads(site).get("gateway", {}).get("aliases", "resolve"))


def _blocks(text: str) -> str:
    """Give the marked blocks of a text, or all of it if it has none."""
    kept: list[str] = []
    inside = False
    for line in lines_of(text):
        inside = inside or line.startswith(BEGIN)
        if inside:
            kept.append(line)
        inside = inside and line.rstrip("\n") != END
    return "".join(kept) or text
