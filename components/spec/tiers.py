"""What an environment has when its files say nothing: first what every tier has, then what differs.

`MINIMUM` is what prod may not fall below without a waiver.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

COMMON: dict[str, Any] = {
    "network": {"egress": "open", "perimeter": "off"},
    "identity": {
        "session_hours": 8,
        "personas": {
            "data-scientist": {"permission_set": "DataScientist"},
            "ml-engineer": {"permission_set": "MLEngineer"},
            "platform-admin": {"permission_set": "PlatformAdmin"},
            "auditor": {"permission_set": "Auditor"},
        },
    },
    "data": {
        "zones": {
            "raw": {
                "description": "As it arrived.",
                "readers": ["ml-engineer"],
                "cool_after_days": 60,
            },
            "curated": {
                "description": "Cleaned, joined, checked.",
                "readers": ["data-scientist"],
                "writers": ["ml-engineer"],
            },
            "features": {
                "description": "What models learn from and are asked with.",
                "readers": [],
                "writers": ["data-scientist", "ml-engineer"],
            },
            "artifacts": {
                "description": "Checkpoints, evaluations, whatever a run leaves behind.",
                "key": "models",
                "writers": ["data-scientist", "ml-engineer"],
            },
            "models": {
                "description": "Model packages, ready to be served.",
                "key": "models",
                "readers": ["data-scientist"],
                "writers": ["ml-engineer"],
            },
            "logs": {
                "description": "Captured requests and answers, logged prompts.",
                "key": "logs",
                "readers": ["auditor"],
                "cool_after_days": 60,
            },
            "access-logs": {
                "description": "Who read what in the other zones.",
                "key": "logs",
                "readers": ["auditor"],
                "cool_after_days": 60,
            },
        },
    },
    "training": {},
    "registry": {
        "images": {
            "training": {"description": "Images of training jobs."},
            "serving": {"description": "Images that answer.", "shared": True},
        },
    },
    "serving": {},
    "retrieval": {},
}

TIERS: dict[str, dict[str, Any]] = {
    "dev": {
        "network": {"zones": 2, "nat": "single"},
        "keys": {"protection_level": "software", "rotation_days": 90, "deletion_days": 7},
        "logs": {"retention_days": 30},
        "protection": {"data": "delete"},
        "data": {"replicate": False},
        "training": {"checkpoint_days": 14},
        "registry": {"keep_versions": 2, "scanning": "on_push"},
        "serving": {"capture_days": 14},
        "retrieval": {"prompt_days": 14},
        "budget": {"actual_percent": [80, 100], "forecast_percent": [100]},
    },
    "staging": {
        "network": {"zones": 2, "nat": "single", "perimeter": "dry_run"},
        "keys": {"protection_level": "software", "rotation_days": 90, "deletion_days": 14},
        "logs": {"retention_days": 90},
        "protection": {"data": "protect"},
        "data": {"replicate": False},
        "training": {"checkpoint_days": 30},
        "registry": {"keep_versions": 5},
        "serving": {"capture_days": 30},
        "retrieval": {"prompt_days": 30},
        "budget": {"actual_percent": [50, 80, 100], "forecast_percent": [100]},
    },
    "prod": {
        "network": {"zones": 3, "nat": "per_zone", "egress": "deny", "perimeter": "dry_run"},
        "keys": {"protection_level": "hsm", "rotation_days": 90, "deletion_days": 30},
        "logs": {"retention_days": 400},
        "protection": {"data": "retain"},
        "identity": {"session_hours": 4},
        "data": {"replicate": True},
        "training": {"checkpoint_days": 90},
        "registry": {"keep_versions": 20, "signatures": "enforce"},
        "serving": {"capture_days": 365},
        "retrieval": {"prompt_days": 365},
        "budget": {"actual_percent": [50, 80, 100], "forecast_percent": [80, 100]},
    },
}


@dataclass(frozen=True, slots=True)
class Minimum:
    """A key that prod may not weaken without a waiver of this rule."""

    rule: str
    key: tuple[str, str]
    holds: Callable[[Any], bool]
    right: str


MINIMUM: tuple[Minimum, ...] = (
    Minimum("prod-protection", ("protection", "data"), lambda v: v == "retain", "retain"),
    Minimum(
        "prod-zones",
        ("network", "zones"),
        lambda v: (v if isinstance(v, int) else len(v)) >= 2,
        "at least 2 zones",
    ),
    Minimum("prod-nat", ("network", "nat"), lambda v: v != "single", "per_zone, or none"),
    Minimum(
        "prod-egress", ("network", "egress"), lambda v: v == "deny", "deny, with exceptions named in network.allow"
    ),
    Minimum("prod-flow-logs", ("network", "flow_logs"), lambda v: v is True, "true"),
    Minimum("prod-key-protection", ("keys", "protection_level"), lambda v: v == "hsm", "hsm"),
    Minimum("prod-key-deletion", ("keys", "deletion_days"), lambda v: v >= 30, "30"),
    Minimum("prod-log-retention", ("logs", "retention_days"), lambda v: v >= 365, "365 or more"),
    Minimum("prod-signatures", ("registry", "signatures"), lambda v: v == "enforce", "enforce"),
    Minimum("prod-replication", ("data", "replicate"), lambda v: v is True, "true"),
)
