"""Rules that every environment is held to. See `docs/policies.md`.

Pulumi runs the pack inside this directory, so no module here may be called like one of Python's own: it would take its place.
"""
