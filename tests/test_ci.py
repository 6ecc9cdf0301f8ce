"""When CI checks the examples: .ci/examples-changed, in a repository of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("-c", "user.name=Hookline", "-c", "user.email=hookline@example.com", "-c", "commit.gpgsign=false")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *OURS, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.read_text("utf-8") + "more\n" if path.exists() else "first\n", encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Change it")


def is_to_run(folder: Path, *since: str) -> bool:
    done = subprocess.run(
        [folder / ".ci" / "examples-changed", *since], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}
    assert done.stdout.startswith("examples: ")
    return done.returncode == 0


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Released once."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "examples-changed", tmp_path / ".ci")
    commit(tmp_path, "examples/rails/config.ru", "src/hookline/loop.py", "src/hookline/sender/conformance_http.py")
    git(tmp_path, "tag", "v1.0.0")
    return tmp_path


@pytest.mark.parametrize(
    ("names", "is_expected"),
    [
        (("docs/index.md", "src/hookline/loop.py"), False),
        (("examples/rails/config.ru",), True),
        (("examples/express/new.js", "docs/index.md"), True),
        (("src/hookline/sender/conformance_http.py",), True),
        ((".ci/run",), True),
        (("src/hookline/dashboard/snippets/express.js.txt",), True),
    ],
)
def test_what_changed_since_the_release_decides(repository: Path, names: tuple[str, ...], is_expected: bool) -> None:
    """In whichever commit since then."""
    commit(repository, *names)
    commit(repository, "CHANGELOG.md")

    assert is_to_run(repository) is is_expected


def test_a_release_is_compared_with_the_one_before(repository: Path) -> None:
    """The commit that is tagged is what is being released: its own changes count."""
    commit(repository, "examples/rails/config.ru")
    git(repository, "tag", "v1.1.0")

    assert is_to_run(repository)


def test_another_commit_may_be_named(repository: Path) -> None:
    """As the last one that CI has passed."""
    commit(repository, "examples/rails/config.ru")

    assert [is_to_run(repository, since) for since in ("HEAD", "HEAD^", "no-such-commit")] == [False, True, True]


def test_in_doubt_they_run(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing was released yet; a clone has the last commit alone; there is no repository at all."""
    commit(repository, "CHANGELOG.md")
    shallow = tmp_path_factory.mktemp("clones") / "shallow"
    git(repository, "clone", "--quiet", "--depth", "1", f"file://{repository}", str(shallow))
    assert is_to_run(shallow)

    git(repository, "tag", "--delete", "v1.0.0")
    assert is_to_run(repository)

    shutil.rmtree(repository / ".git")
    assert is_to_run(repository)
