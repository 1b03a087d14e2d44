"""What pydantic finds wrong with the shape of a description, in the words of its files."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from components.spec.environment import Environment
from components.spec.problems import Problem, one_of
from components.spec.section import EMAIL, NAME
from components.spec.source import Layer, Path, Secure, dotted

# By pydantic's kind of error: what is wrong, and what would be right. `{…}` is filled from the error's own context, with the
# value that was given (`input`), the key, and how Pulumi calls the key's place.
_SAYS: dict[str, tuple[str, str]] = {
    "missing": ("is missing", "a value"),
    "string_pattern_mismatch": ("{input} has the wrong form", "{pattern}"),
    "string_type": ("{input} is not text", "text; a number of digits in quotes"),
    "string_too_short": ("{input} is too short", "at least {min_length} characters"),
    "string_too_long": ("{input} is too long", "{max_length} characters at most"),
    "int_type": ("{input} is not a whole number", "a whole number"),
    "int_parsing": ("{input} is not a whole number", "a whole number"),
    "int_from_float": ("{input} is not a whole number", "a whole number"),
    "bool_type": ("{input} is neither true nor false", "true or false"),
    "bool_parsing": ("{input} is neither true nor false", "true or false"),
    "list_type": ("{input} is not a list", "a list"),
    "dict_type": ("{input} is not a map", "a map of names to values"),
    "model_type": ("{input} is not a map", "a map of keys to values"),
    "greater_than_equal": ("{input} is too small", "{ge} or more"),
    "less_than_equal": ("{input} is too large", "{le} or less"),
    "too_short": ("holds {actual_length}", "{min_length} or more"),
    "too_long": ("holds {actual_length}", "{max_length} at most"),
    "is_instance_of": (
        "a secret stands here in clear",
        "encrypt it: pulumi config set --secret --path 'ai-platform:{key}'",
    ),
    "date_from_datetime_parsing": ("{input} is no date", "a date such as 2027-01-31"),
    "datetime_from_date_parsing": ("{input} is no time", "a time such as 2027-01-31T11:30:00Z"),
    "timezone_aware": ("{input} does not say its time zone", "a time such as 2027-01-31T11:30:00Z"),
}

# What the patterns mean that a person meets most often.
_WORDS = {
    NAME: "lower-case letters, digits and single hyphens, 32 at most, a letter first",
    EMAIL: "an e-mail address",
}


def explain(error: ValidationError, layer: Layer) -> tuple[list[Problem], list[Path]]:
    """The problems, one a place, and the path of each as it was written."""
    found: dict[Path, Problem] = {}
    for detail in error.errors():
        path = _written(detail, layer)
        found.setdefault(path, _problem(detail, path, layer))  # of a union, the first branch speaks for all
    return list(found.values()), list(found)


def _written(detail: ErrorDetails, layer: Layer) -> Path:
    """The path of an error as the person wrote it: pydantic also names the branch of a union that it took."""
    path: list[str | int] = []
    value: Any = layer.values
    loc = detail["loc"][:-1] if detail["loc"][-1:] == ("[key]",) else detail["loc"]
    for i, part in enumerate(loc):
        if (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int)):
            value = cast("Any", value)[part]
        elif not (detail["type"] == "missing" and i == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _problem(detail: ErrorDetails, path: Path, layer: Layer) -> Problem:
    kind, given = detail["type"], detail["input"]
    fields = list(_fields(detail["loc"]))
    hint = fields[-1][1].description if fields and fields[-1][0] == detail["loc"][-1] else None
    if kind == "extra_forbidden":
        says = f"{path[-1]} is no key here", one_of(str(path[-1]), _keys(detail["loc"][:-1]))
    elif isinstance(given, Secure):
        says = "this value cannot be a secret", "the value in clear"
    elif kind == "literal_error":
        allowed = [word.strip("' ") for word in str(detail.get("ctx", {})["expected"]).replace(" or ", ",").split(",")]
        says = f"{given} is not allowed", one_of(str(given), allowed)
    elif kind in {"union_tag_not_found", "union_tag_invalid"}:
        says = _tag(detail.get("ctx", {}), given)
    elif kind in {"ip_v4_network", "value_error"}:
        says = _range(given)
    else:
        shown = "a map" if isinstance(given, dict) else "a list" if isinstance(given, list) else given
        values = {**detail.get("ctx", {}), "input": shown, "key": dotted(path)}
        if values.get("pattern") in _WORDS:
            values["pattern"] = _WORDS[values["pattern"]]
        wrong, right = _SAYS.get(kind, (detail["msg"], "see the schema in stacks/"))
        says = wrong.format(**values), right.format(**values)
        if hint and kind in {"missing", "string_pattern_mismatch", "string_type"}:
            says = says[0], f"{says[1]}. {hint}"
    return Problem(layer.source(path), dotted(path), *says)


def _tag(context: Mapping[str, Any], given: Any) -> tuple[str, str]:
    """What is wrong with the key that says which form of a union stands here; or that no map stands here at all."""
    key, tag = str(context["discriminator"]).strip("'"), context.get("tag")
    if tag is None:
        return f"its {key} is missing", f"a key `{key}`"
    if not isinstance(given, dict):
        return f"{given} is not a map", "a map of keys to values"
    return f"{tag} is no {key}", one_of(
        str(tag), [word.strip("' ") for word in str(context["expected_tags"]).split(",")]
    )


def _range(given: Any) -> tuple[str, str]:
    try:
        right = str(IPv4Network(str(given), strict=False))
    except ValueError:
        return f"{given} is no IPv4 range", "a range such as 10.16.0.0/16"
    return f"{given} has host bits set", right


def _keys(loc: Path) -> list[str]:
    """The keys that the model at a location knows."""
    found: Any = Environment
    for part in loc:
        found = _inside(found, part)
    return [name for name in found.model_fields if not (found is Environment and name == "name")]


def _fields(loc: Path) -> Iterator[tuple[str, Any]]:
    """Each key on the way to a location that is a field of a model, with the field."""
    found: Any = Environment
    for part in loc:
        if isinstance(found, type) and issubclass(found, BaseModel) and part in found.model_fields:
            yield str(part), found.model_fields[str(part)]
        found = _inside(found, part)


def _inside(annotation: Any, part: int | str) -> Any:
    """The type of what stands at `part` in a value of type `annotation`; that itself where `part` names a union's branch."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _plain(annotation.model_fields[str(part)].annotation) if part in annotation.model_fields else annotation
    for option in annotation if isinstance(annotation, tuple) else (annotation,):
        if isinstance(option, type) and issubclass(option, BaseModel):
            tags = [option.model_fields[key] for key in ("kind", "strategy") if key in option.model_fields]
            if part == option.__name__ or any(part in getattr(tag.annotation, "__args__", ()) for tag in tags):
                return option
        elif getattr(option, "__origin__", None) in {dict, list}:
            return _plain(option.__args__[-1])
    return annotation


def _plain(annotation: Any) -> Any:
    """A type without `Annotated` and `None`; a tuple of types where it is a union."""
    if hasattr(annotation, "__metadata__"):
        return _plain(annotation.__origin__)
    arguments = getattr(annotation, "__args__", ())
    if not arguments or getattr(annotation, "__origin__", None) in {dict, list}:
        return annotation
    plain = tuple(_plain(a) for a in arguments if a is not type(None))
    return plain[0] if len(plain) == 1 else plain
