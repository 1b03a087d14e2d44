"""AWS: one folder a section of the platform, one file an entity."""
