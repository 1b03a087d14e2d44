"""The platform: what is described (`spec`), pure helpers (`core`), and what each cloud builds from it."""
