"""An installed wheel works without the checkout."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("milter", "rules", "sql", "systemd", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.real


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path) -> Path:
    """Build the wheel from a copy of the sources."""
    sources = folder / "sources"
    sources.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        origin = ROOT / name
        copy = shutil.copytree if origin.is_dir() else shutil.copy2
        copy(origin, sources / name, **({"ignore": skip} if origin.is_dir() else {}))
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, sources, cwd=folder)
    shutil.rmtree(sources)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, home: Path) -> Path:
    """Install the wheel into an environment of its own, and lend it the libraries of this one."""
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=home)
    (packages,) = home.glob("lib/python*/site-packages")
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (packages / "libraries.pth").write_text("\n".join(libraries))
    return python


def test_an_installed_wheel_makes_a_site(tmp_path: Path) -> None:
    """Rules, migrations and units come with the wheel; init and rules check run where no checkout is."""
    home = tmp_path / "home"
    python = install(build(tmp_path), home)
    code = "import gatepost, importlib.resources as r; print(gatepost.__file__, r.files('gatepost.systemd'))"
    assert all(Path(place).is_relative_to(home) for place in run(python, "-P", "-c", code, cwd=tmp_path).split())
    gatepost = home / "bin" / "gatepost"
    site = tmp_path / "site"
    run(gatepost, "init", site, "--domain", "hosp.test", "--hostname", "gw.hosp.test", cwd=tmp_path)
    assert sorted(path.name for path in (site / "rules").iterdir()) == sorted(
        path.name for path in (ROOT / "rules").glob("*.toml")
    )
    run(gatepost, "-c", site / "gatepost.toml", "rules", "check", cwd=tmp_path)
