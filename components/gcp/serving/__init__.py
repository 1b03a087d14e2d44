"""Endpoints on Google Cloud."""
