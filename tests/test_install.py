"""The wheel: what is in it, and what a light install of it can and cannot do."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[1]
SIGN_AND_VERIFY = """
import time
from hookline.wire.signature import sign, verify_signature
now_ms = time.time_ns() // 1_000_000
header = sign(b"{}", "secret", timestamp_ms=now_ms)
print(verify_signature(b"{}", header, ["secret"], now_ms=now_ms).secret_index)
"""

TESTS_A_HANDLER = """
import sys
from hookline import Receiver
from hookline.testing import Chaos, Inbox, Signing, Story, TurnedClock
clock, welcomed = TurnedClock(), []
hooks = Receiver(sys.argv[1], secrets=["whsec_1"], clock=clock)
hooks.on("dsync.user.created")(lambda event, tx: welcomed.append(event.data["first_name"]))
inbox, ada = Inbox(hooks), Story(clock)("dsync.user.created")
inbox.deliver(ada)
inbox.drain()
inbox.assert_handled(ada)
hooks.close()
print(welcomed)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that holds the wheel and msgspec, nothing else, as `pip install .` makes it."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder, with_pip=False, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    return folder / "bin" / "python"


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """That Python, isolated from this environment and this checkout."""
    return subprocess.run([python, "-I", *arguments], capture_output=True, text=True, check=False, cwd=python.parent)


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """Verbs, migrations, samples and the typing marker are package data: all of it is packed."""
    source = ROOT / "src"
    wanted = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }

    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())

    assert "hookline/py.typed" in wanted
    assert wanted - packed == set()
    assert not [name for name in packed if not name.startswith(("hookline/", "hookline-"))]


def test_the_wheel_names_the_command_and_one_dependency(wheel: Path) -> None:
    """The console script is `hookline`; without extras msgspec is all that is asked for."""
    with zipfile.ZipFile(wheel) as archive:
        [scripts] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt")]
        [metadata] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("METADATA")]
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]

    extras = {line.split()[1] for line in metadata.splitlines() if line.startswith("Provides-Extra:")}

    assert "hookline = hookline.cli:main" in scripts
    assert "[pytest11]\nhookline = hookline.testing.plugin" in scripts
    assert extras == {"all", "django", "fastapi", "flask", "oidc", "otel", "parquet", "postgres", "server"}
    assert [line.split()[1].split(">")[0] for line in required] == ["msgspec"]


def test_a_light_install_verifies(light: Path) -> None:
    """`import hookline` and verifying need no extra."""
    imported = run(light, "-c", "import hookline; print(hookline.__version__)")
    verified = run(light, "-c", SIGN_AND_VERIFY)

    assert (imported.returncode, imported.stderr) == (0, "")
    assert (verified.stdout, verified.stderr) == ("0\n", "")


def test_a_light_install_has_what_tests_of_handlers_need(light: Path, tmp_path: Path) -> None:
    """An inbox, events, a clock, chaos: all but a Pair, which needs the sender."""
    result = run(light, "-c", TESTS_A_HANDLER, f"sqlite:///{tmp_path / 'app.db'}")

    assert (result.stdout, result.stderr) == ("['Ada']\n", "")


def test_a_light_install_of_the_command_names_the_extra(light: Path) -> None:
    """`hookline` without the server extra exits 2 and says what to install."""
    result = run(light, "-m", "hookline", "demo")

    assert (result.returncode, result.stdout) == (2, "")
    assert "pip install 'hookline[server]'" in result.stderr
