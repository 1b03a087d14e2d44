"""What is wrong with a description, said once, for the person who wrote it."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Where a value was written: a file relative to the project's root, and its line from 1; 0 where it has none."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, and what would be right."""

    source: Source
    key: str
    wrong: str
    right: str

    def __str__(self) -> str:
        where = f"{self.source}  {self.key}" if self.key else str(self.source)
        return f"{where}\n    wrong: {self.wrong}\n    right: {self.right}"


class SpecError(Exception):
    """Bad input. Holds every problem that was found, sorted by file and line."""

    def __init__(self, stack: str, problems: Iterable[Problem]) -> None:
        """Keep the distinct problems of the description of `stack`."""
        self.stack = stack
        self.problems = sorted(set(problems))
        super().__init__(self.report())

    def report(self) -> str:
        """The whole report as text: a line of summary, then each problem."""
        count = len(self.problems)
        head = f"Stack {self.stack}: {count} problem{'' if count == 1 else 's'} in its description; nothing was built."
        return "\n\n".join([head, *map(str, self.problems)])


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a person who wrote `word` most likely meant."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def one_of(word: str, known: Iterable[str]) -> str:
    """What would be right instead of `word`: its nearest neighbour first, then all that is allowed."""
    known = list(known)
    allowed = f"one of: {', '.join(known)}" if known else "there is none"
    meant = nearest(word, known)
    return f"{meant}? ({allowed})" if meant else allowed
