"""Data on Google Cloud."""
