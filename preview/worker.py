"""Record stacks in a process of their own, which imports the SDKs of these stacks and no others."""

import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from policies.model import Graph
from preview.attempt import Failure, attempt

ENGINE = Path(__file__).resolve().parents[1]
"""The folder that holds this package: a base is recorded by the code at hand too, never by its own."""

_STDERR = 2


def attempts(root: Path, stacks: Sequence[str]) -> dict[str, Graph | Failure]:
    """Record several stacks, one after the other, in one new process. What that prints goes to stderr."""
    with TemporaryDirectory(prefix="preview-") as folder:
        out = Path(folder) / "outcomes"
        command = [sys.executable, "-m", "preview.worker", str(out), str(root), *stacks]
        done = subprocess.run(command, cwd=ENGINE, stdout=_STDERR, check=False)  # noqa: S603  our own module
        if done.returncode:
            return dict.fromkeys(stacks, Failure(f"The process that records ended with code {done.returncode}."))
        return pickle.loads(out.read_bytes())  # noqa: S301  written by our own process


def main(out: str, root: str, *stacks: str) -> None:
    """Record these stacks and leave the outcomes in the file `out`."""
    outcomes = {stack: attempt(Path(root), stack) for stack in stacks}
    Path(out).write_bytes(pickle.dumps(outcomes, pickle.HIGHEST_PROTOCOL))


if __name__ == "__main__":
    main(*sys.argv[1:])
