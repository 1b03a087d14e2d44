"""Documents in texts: policies, dashboards, a provider's settings."""

import json
from typing import Any


def decoded(value: Any) -> Any:
    """What a text holds as JSON; the value itself where it holds none."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
