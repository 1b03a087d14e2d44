"""Record one stack; whatever goes wrong becomes a report."""

import sys
import traceback
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from policies.model import Graph


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stack has no graph, as text for a person."""

    report: str


def attempt(root: Path, stack: str) -> Graph | Failure:
    """Record one stack in this process. Whatever goes wrong becomes a report; a defect of the program with its trace."""
    from pulumi import RunError  # noqa: PLC0415  the SDK takes a moment, and a bad description does not need it

    from preview.engine import ProgramError  # noqa: PLC0415
    from preview.record import record  # noqa: PLC0415

    try:
        with redirect_stdout(sys.stderr):  # stdout is for the report
            return record(root, stack)
    except RunError as error:
        return Failure(str(error))
    except ProgramError as error:
        return Failure(error.report())
    except Exception as error:  # noqa: BLE001  a program may raise anything
        return Failure(f"Stack {stack}: the program failed.\n\n{_trace(error)}")


def _trace(error: Exception) -> str:
    """The trace from the program's own first line on: what called it is not at fault."""
    found = error.__traceback__
    while found and found.tb_frame.f_globals.get("__name__") != "__main__":
        found = found.tb_next
    return "".join(traceback.format_exception(type(error), error, found or error.__traceback__))
