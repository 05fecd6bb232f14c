"""Imports run one way, and each third-party library has one home."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MILTER = Path(__file__).parents[2] / "milter"
PACKAGE = MILTER / "gatepost"

_PURE = {"message", "errors"}
_CAPABILITIES = {"decision", "directory", "transport", "crypto", "dlp", "vault"}
_ADAPTERS = {"db", "workers", "mta", "metrics", "portal"}
_EVERYWHERE = {"errors", "log"}

# Each room, and the rooms that it may import besides itself, errors and log.
MAY_IMPORT: dict[str, set[str]] = {
    "message": set(),
    "directory": {"message"},
    "decision": {"message", "directory"},
    "transport": {"message", "directory"},
    "crypto": {"message"},
    "dlp": {"message"},
    "vault": {"message", "crypto"},
    "gateway": {"message"} | _CAPABILITIES,
    "db": {"message", "gateway"} | _CAPABILITIES,
    "workers": {"message", "gateway"} | _CAPABILITIES,
    "mta": {"message", "gateway"} | _CAPABILITIES,
    "metrics": {"message", "gateway"} | _CAPABILITIES,
    "portal": {"message", "gateway"} | _CAPABILITIES,
    "settings": {"decision"},
    "secrets": {"crypto"},
    "errors": set(),
    "log": set(),
    "__init__": set(),
    "app": {"message", "gateway", "settings", "secrets"} | _CAPABILITIES | _ADAPTERS,
    "cli": {"app", "message", "gateway", "settings", "secrets", ""} | _CAPABILITIES | _ADAPTERS,
    "__main__": {"cli"},
}

# Socketmap is a service of its own, on the level of the adapters, and so is its client; their neighbours may not
# import them.
_SOCKETMAP = {"gatepost.transport.socketmap", "gatepost.transport.socketmap_client"}

# Libraries that are wrapped: the only modules that may import them.
HOMES = {
    "Milter": {"gatepost.mta.adapter"},
    "pysequoia": {
        "gatepost.crypto.sequoia",
        "gatepost.crypto.openpgp_signature",
        "gatepost.crypto.openpgp_signer",
    },
    "gnupg": {"gatepost.crypto.gnupg_home"},
    "pkcs11": {"gatepost.crypto.token"},
    "structlog": {"gatepost.log"},
    "prometheus_client": {"gatepost.metrics.prometheus"},
    "re2": {"gatepost.decision.pattern"},
    "urllib3": {"gatepost.transport.https"},
    "uvloop": {"gatepost.transport.socketmap"},
    "dns": {"gatepost.transport.dns"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(MILTER).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    """Name the room of `gatepost.ROOM...`; the package itself is the room ""."""
    return module.split(".")[1] if "." in module else ""


def imports(tree: ast.AST) -> Iterator[str]:
    """Give every imported module, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            source = node.module or ""
            yield from ([f"gatepost.{alias.name}" for alias in node.names] if source == "gatepost" else [source])


def violations(module: str, imported: list[str]) -> list[str]:
    """Name the imports of a module that run the wrong way or reach for another's library."""
    room = room_of(module) or "__init__"
    allowed = MAY_IMPORT[room] | _EVERYWHERE | {room}
    wrong = [
        name
        for name in imported
        if name.split(".")[0] == "gatepost" and name != "gatepost.__version__" and room_of(name) not in allowed
    ]
    low = room in _PURE | _CAPABILITIES | {"gateway"} and module not in _SOCKETMAP
    wrong += [name for name in imported if name in _SOCKETMAP and low]
    wrong += [name for name in imported if module not in HOMES.get(name.split(".")[0], {module})]
    return wrong


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    """A module imports only what lies below it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert violations(name_of(path), list(imports(tree))) == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("gatepost.message.body", "gatepost.decision.plan"),
        ("gatepost.decision.engine", "gatepost.db.tables"),
        ("gatepost.decision.engine", "gatepost.settings"),
        ("gatepost.gateway.outbound", "gatepost.mta.adapter"),
        ("gatepost.gateway.outbound", "gatepost.transport.socketmap"),
        ("gatepost.gateway.outbound", "gatepost.transport.socketmap_client"),
        ("gatepost.mta.adapter", "gatepost.app"),
        ("gatepost.app", "gatepost.cli.main"),
        ("gatepost.gateway.outbound", "Milter"),
    ],
)
def test_the_guard_sees_a_wrong_import(module: str, imported: str) -> None:
    """Each kind of wrong import is found."""
    assert violations(module, [imported]) == [imported]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_modules_stay_small(path: Path) -> None:
    """A module of more than 400 lines is two modules."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
