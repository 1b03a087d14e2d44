"""The project as it was at another commit."""

import subprocess
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile


class BaseError(Exception):
    """A base that cannot be had; the message is a report for a person."""


@contextmanager
def checkout(root: Path, ref: str) -> Generator[Path]:
    """A folder with the project at a git ref, for as long as the context lasts. Raises BaseError for an unknown ref.

    The working tree, the index and the repository stay as they are.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        raise BaseError(
            f"Base {ref}: git knows no such commit here; nothing was built.\n    right: a branch, a tag or a commit"
        )
    with TemporaryDirectory(prefix="preview-") as folder, TemporaryFile() as archive:
        subprocess.run(["git", "archive", commit], cwd=root, stdout=archive, check=True)  # noqa: S603, S607
        archive.seek(0)
        with tarfile.open(fileobj=archive) as tar:
            tar.extractall(folder, filter="data")
        yield Path(folder).resolve()


def _git(root: Path, *arguments: str) -> str | None:
    """What git says in one line; None where it refuses or is not there."""
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
