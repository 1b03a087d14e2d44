"""The rules, a file for each concern. Importing this package declares them all."""

from policies.rules import (
    cost,
    documents,
    encryption,
    federation,
    functions,
    identity,
    isolation,
    network,
    operations,
    protection,
    secrets,
    storage,
    tagging,
)

__all__ = [
    "cost",
    "documents",
    "encryption",
    "federation",
    "functions",
    "identity",
    "isolation",
    "network",
    "operations",
    "protection",
    "secrets",
    "storage",
    "tagging",
]
