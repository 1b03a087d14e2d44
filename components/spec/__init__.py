"""The description of the platform: its model, its defaults, its checks. Imports no Pulumi."""
