"""Whether a text is PromQL: as much of its grammar as our queries use, read from left to right. No parser of it is for Python."""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r'\s*(?:(?P<number>\d+(?:\.\d+)?)(?![\w:])|(?P<duration>\d+[smhdw])(?!\w)|(?P<name>[A-Za-z_:][\w:]*)|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<range>\[\d+[smhdw]\])|(?P<sign>=~|!~|!=|>=|<=|==|[-+*/><={}(),]))"
)
_AGGREGATE = {"avg", "count", "max", "min", "sum"}
_OF_RANGE = {"increase", "rate"}
_FUNCTIONS = {"absent", "histogram_quantile", *_OF_RANGE}
_BINARY = {"+", "-", "*", "/", ">", ">=", "<", "<=", "==", "and", "or", "unless"}


def series(query: str) -> list[tuple[str, dict[str, str]]]:
    """The series that a query selects, each with its matchers; ValueError where it is no query."""
    return list(_Reader(query).whole())


class _Reader:
    def __init__(self, query: str) -> None:
        self._query, self._tokens, at = query, list[tuple[str, str]](), 0
        while at < len(query.rstrip()):
            if not (found := _TOKEN.match(query, at)):
                raise ValueError(f"{query[at:]} is no PromQL")
            self._tokens.append((str(found.lastgroup), found[found.lastgroup or 0]))
            at = found.end()
        self._at, self._found = 0, list[tuple[str, dict[str, str]]]()

    def whole(self) -> Iterator[tuple[str, dict[str, str]]]:
        self._expression()
        if self._at < len(self._tokens):
            raise ValueError(f"{self._query}: {self._peek()} too much")
        yield from self._found

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        if self._at >= len(self._tokens) or (wanted and self._peek() not in wanted):
            raise ValueError(f"{self._query}: {wanted} wanted, {self._peek() or 'nothing'} found")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _expression(self) -> None:
        self._operand()
        while self._peek() in _BINARY:
            if self._take() in {"and", "or", "unless"} and self._peek() == "on":
                self._take("on")
                self._names()
            self._operand()

    def _names(self) -> None:
        self._take("(")
        while self._peek() != ")":
            self._take()
            if self._peek() == ",":
                self._take(",")
        self._take(")")

    def _operand(self) -> None:
        if self._at >= len(self._tokens):
            raise ValueError(f"{self._query} ends too early")
        kind, said = self._tokens[self._at]
        if kind == "number":
            self._take()
        elif said == "(":
            self._inside()
        elif said in _AGGREGATE | _FUNCTIONS:
            self._take()
            if said in _AGGREGATE and self._peek() == "by":
                self._take("by")
                self._names()
            self._inside(ranged=said in _OF_RANGE)
        elif kind == "name":
            self._selector()
        else:
            raise ValueError(f"{self._query}: {said} is nothing to begin with")

    def _inside(self, *, ranged: bool = False) -> None:
        self._take("(")
        while True:
            self._expression()
            if ranged != (self._tokens[self._at - 1][0] == "range"):
                raise ValueError(f"{self._query}: a range is for rate and increase, and for nothing else")
            if self._peek() != ",":
                break
            self._take(",")
        self._take(")")

    def _selector(self) -> None:
        name, matchers = self._take(), dict[str, str]()
        self._take("{")
        while self._peek() != "}":
            label = self._take()
            operator, value = self._take("=", "=~", "!=", "!~"), self._take()
            if not value.startswith('"'):
                raise ValueError(f"{self._query}: {value} is no text")
            matchers[label] = f"{'~' if operator == '=~' else ''}{value[1:-1]}"
            if self._peek() != "}":
                self._take(",")
        self._take("}")
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "range":
            self._take()
        if self._peek() == "offset":
            self._take("offset")
            if self._tokens[self._at][0] != "duration":
                raise ValueError(f"{self._query}: {self._peek()} is no time")
            self._take()
        self._found.append((name, matchers))
