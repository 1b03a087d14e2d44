"""What a model takes and gives: `signature.json`, beside the model in its archive.

    {"model": {"name": "fraud", "version": "12"},
     "files": {"model.onnx": "SHA-256 of the file"},
     "batch_limit": 256,
     "stack": "X",
     "inputs": [{"name": "amount", "type": "float32", "shape": [], "minimum": 0, "maximum": 100000},
                {"name": "country", "type": "string", "values": ["AT", "CH"]}],
     "outputs": ["label", "probabilities"]}

`shape` is that of one instance, without the batch. `stack` names the one tensor of the model into which all inputs go as columns;
without it each input is a tensor of its own name. What is asked is checked against this before the model sees it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

TYPES: Mapping[str, tuple[type, str, str]] = {
    "float32": (np.float32, "fiu", "a number"),
    "float64": (np.float64, "fiu", "a number"),
    "int64": (np.int64, "i", "a whole number"),
    "int32": (np.int32, "i", "a whole number"),
    "bool": (np.bool_, "b", "true or false"),
    "string": (np.object_, "UO", "a text"),
}
"""Name of a type → as an array, the kinds of array that it may be read as (NumPy, `dtype.kind`), and in words."""
REPORTED = 50
"""Most problems in one answer."""

Feed = dict[str, np.ndarray]


class InvalidError(Exception):
    """Instances that the model must not see: what is wrong with which."""

    def __init__(self, problems: Sequence[tuple[int | None, str, str]]) -> None:
        """Each problem is the instance's number (None: all of them), the input's name (or nothing) and what is wrong."""
        super().__init__(f"{len(problems)} problems")
        self.rows = {row for row, _, _ in problems if row is not None}
        self.problems = [{"at": _where(row, name), "problem": problem} for row, name, problem in problems[:REPORTED]]
        if len(problems) > REPORTED:
            self.problems.append({"at": "instances", "problem": f"{len(problems) - REPORTED} more problems"})


def _where(row: int | None, name: str) -> str:
    return "instances" + ("" if row is None else f"[{row}]") + (f".{name}" if name else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One input of the model."""

    name: str
    type: str = "float32"
    shape: tuple[int, ...] = ()
    minimum: float = -math.inf
    maximum: float = math.inf
    values: frozenset[Any] = field(default_factory=frozenset[Any])
    """Where it is not empty: all that is allowed."""

    def array(self, values: list[Any]) -> np.ndarray:
        """The values of a batch as one array; raises ValueError that says what is wrong with them."""
        wanted, kinds, words = TYPES[self.type]
        if self.shape == () and not set(map(type, values)) <= _SCALARS[self.type]:
            raise ValueError("is missing" if None in values else f"must be {words}")
        try:
            found = np.array(values) if self.type != "string" else _texts(values)
        except (ValueError, OverflowError):
            raise ValueError(f"must have the shape {list(self.shape)}") from None
        if found.shape[1:] != self.shape:
            raise ValueError(f"must have the shape {list(self.shape)}")
        if found.dtype.kind not in kinds:
            raise ValueError(f"must be {words}")
        if self.values and not self.values.issuperset(values):
            raise ValueError("must be one of " + ", ".join(sorted(map(str, self.values))))
        if self.type in {"string", "bool"}:
            return found if self.type == "string" else found.astype(wanted)
        if not found.size:
            return found.astype(wanted)
        # Of single values it is quicker to look at the list.
        lowest, highest = (min(values), max(values)) if self.shape == () else (found.min(), found.max())
        if lowest < self.minimum or highest > self.maximum:
            raise ValueError(f"must be {_range(self.minimum, self.maximum)}")
        if self.type in _FINITE:
            # What is no number is neither less nor more than anything, wherever it stands.
            numbers = self.shape != () or not any(map(math.isnan, values))
            if not (numbers and -_FINITE[self.type] < lowest and highest < _FINITE[self.type]):
                raise ValueError("must be finite")
            return found.astype(wanted)
        least, most = _WHOLE[self.type]
        if lowest < least or highest > most:
            raise ValueError(f"must fit {self.type}")
        return found.astype(wanted)

    def sample(self) -> Any:
        """A value that is allowed, to warm the model up."""
        if self.values:
            return min(self.values, key=str)
        if self.type == "string":
            return ""
        near = min(max(0.0, self.minimum), self.maximum)
        value = {"b": bool, "i": math.ceil}.get(TYPES[self.type][1], float)(near)
        return np.full(self.shape, value).tolist() if self.shape else value


_SCALARS: Mapping[str, set[type]] = {
    name: {"f": {int, float}, "i": {int}, "b": {bool}, "U": {str}}[kinds[0]] for name, (_, kinds, _) in TYPES.items()
}


# Below this a number is finite as this type: halfway from the largest float32 to what would be the next one.
_FINITE: Mapping[str, float] = {"float32": (2 - 2.0**-24) * 2.0**127, "float64": math.inf}
_WHOLE: Mapping[str, tuple[int, int]] = {
    name: (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    for name, kind in (("int64", np.int64), ("int32", np.int32))
}


def _texts(values: list[Any]) -> np.ndarray:
    found = np.array(values, dtype=object)
    for value in found.ravel():
        if not isinstance(value, str):
            raise ValueError  # noqa: TRY004 - as NumPy does for the other types
        value.encode()  # half a surrogate pair is none: raises UnicodeEncodeError, a ValueError
    return found


def _range(minimum: float, maximum: float) -> str:
    if maximum == math.inf:
        return f"at least {minimum:g}"
    return f"at most {maximum:g}" if minimum == -math.inf else f"between {minimum:g} and {maximum:g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """See the module."""

    name: str
    version: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    files: Mapping[str, str]
    batch_limit: int = 256
    """Most instances in one call of the model."""
    stack: str | None = None

    @classmethod
    def parse(cls, text: bytes | str) -> "Signature":
        """Read one; raises ValueError that says what is wrong."""
        try:
            found = json.loads(text)
            inputs = tuple(
                Input(
                    **dict[str, Any](each, shape=tuple(each.get("shape", ())), values=frozenset(each.get("values", ())))
                )
                for each in found["inputs"]
            )
            model = found.pop("model")
            named: dict[str, Any] = {key: str(model[key]) for key in ("name", "version")}
            signature = cls(**dict[str, Any](found | named, inputs=inputs, outputs=tuple(found["outputs"])))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"signature.json is not valid: {error!r}") from None
        wrong = [each.type for each in inputs if each.type not in TYPES]
        if wrong or not inputs or not signature.outputs or len({each.name for each in inputs}) != len(inputs):
            raise ValueError(f"signature.json names no input, no output, an input twice or unknown types: {wrong}")
        if signature.stack and any(each.shape or each.type == "string" for each in inputs):
            raise ValueError("signature.json stacks inputs that are not single numbers")
        if any(each.shape and each.values for each in inputs):
            raise ValueError("signature.json lists values of an input that is not a single value")
        if signature.batch_limit < 1:
            raise ValueError("signature.json has a batch_limit under 1")
        return signature

    def feed(self, rows: Sequence[Any]) -> Feed:
        """Instances as arrays, one for each input; raises InvalidError with all that is wrong."""
        if not rows:
            raise InvalidError([(None, "", "there must be one at least")])
        try:
            named = [self._named(row) for row in rows]
            return {each.name: each.array([row[each.name] for row in named]) for each in self.inputs}
        except (ValueError, KeyError):
            # Something is wrong: now look at each value by itself, to say what.
            problems = [problem for number, row in enumerate(rows) for problem in self._problems(number, row)]
            raise InvalidError(problems or [(None, "", "do not fit together")]) from None

    def _named(self, row: Any) -> Mapping[str, Any]:
        """An instance by input: an object, a list in the order of the inputs, or the value of the only input."""
        if isinstance(row, dict):
            found = cast("dict[str, Any]", row)
            if len(found) > len(self.inputs):
                raise ValueError("has unknown inputs")
            return found
        if len(self.inputs) == 1 and (self.inputs[0].shape or not isinstance(row, list)):
            return {self.inputs[0].name: row}
        if isinstance(row, list) and len(row) == len(self.inputs):
            return {each.name: value for each, value in zip(self.inputs, row, strict=True)}
        raise ValueError(f"must be an object, or a list of {len(self.inputs)} values")

    def _problems(self, number: int, row: Any) -> list[tuple[int | None, str, str]]:
        if isinstance(row, dict):
            known = {each.name for each in self.inputs}
            found: list[tuple[int | None, str, str]] = [
                (number, name, "is missing") for name in sorted(known - row.keys())
            ]
            # Not the name itself: it is a part of what was sent.
            found += [(number, "", "has an input that the model does not know")] * bool(row.keys() - known)
            named = cast("Mapping[str, Any]", row)
        else:
            try:
                named, found = self._named(row), []
            except ValueError as error:
                return [(number, "", str(error))]
        for each in self.inputs:
            if each.name in named:
                try:
                    each.array([named[each.name]])
                except ValueError as error:
                    found.append((number, each.name, str(error)))
        return found

    def sample(self) -> dict[str, Any]:
        """An instance that is allowed."""
        return {each.name: each.sample() for each in self.inputs}
