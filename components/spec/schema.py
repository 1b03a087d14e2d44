"""The JSON schemas of the two kinds of file, for editors: `python -m components.spec.schema` writes them into `stacks/`.

A file holds a part of the description, so nothing is required in it, and any key may be `null`, which removes it.
"""

import json
from pathlib import Path
from typing import Any

from components.spec.environment import Environment
from components.spec.load import PROJECT

DIRECTORY = Path("stacks")


def _partial(node: Any) -> Any:
    """The schema without what only the whole description has to fulfil."""
    if isinstance(node, list):
        return [_partial(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _partial(value) for key, value in node.items() if key not in {"required", "default", "title"}}
    if "discriminator" in made:
        # The part that is in another file may be what says which form it is.
        made["anyOf"] = made.pop("oneOf")
        del made["discriminator"]
    if "properties" in node:
        if set(node["properties"]) == {"secure"}:
            return {**made, "required": ["secure"]}
        made["properties"] = {
            key: {**_nullable(value), "description": value.get("description", "")}
            for key, value in node["properties"].items()
        }
    if "patternProperties" in node:
        made["patternProperties"] = {key: _nullable(value) for key, value in node["patternProperties"].items()}
    if isinstance(node.get("additionalProperties"), dict):
        made["additionalProperties"] = _nullable(node["additionalProperties"])
    return made


def _nullable(node: Any) -> dict[str, Any]:
    return {"anyOf": [_partial(node), {"type": "null"}]}


def schemas() -> dict[str, dict[str, Any]]:
    """Each schema by the name of its file."""
    whole = Environment.model_json_schema()
    parts = _partial(whole)
    parts["properties"].pop("name")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    config = {f"{PROJECT}:{key}": {"$ref": f"platform.schema.json#/properties/{key}"} for key in parts["properties"]}
    stack = {
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                "properties": config,
                "patternProperties": {f"^(?!{PROJECT}:).+:.+$": {}},
                "additionalProperties": False,
            },
            "environment": {},
            "secretsprovider": {"type": "string"},
            "encryptedkey": {"type": "string"},
            "encryptionsalt": {"type": "string"},
        },
        "required": ["config"],
        "additionalProperties": False,
    }
    return {
        "platform.schema.json": {**head, "title": "What the company runs", **parts},
        "stack.schema.json": {**head, "title": "Where one environment runs", **stack},
    }


def text(schema: dict[str, Any]) -> str:
    """A schema as it lies in its file."""
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name, schema in schemas().items():
        (DIRECTORY / name).write_text(text(schema), encoding="utf-8")
