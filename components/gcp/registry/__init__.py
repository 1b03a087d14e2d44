"""Registries of models and of images."""
