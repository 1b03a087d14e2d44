"""Data on AWS."""
