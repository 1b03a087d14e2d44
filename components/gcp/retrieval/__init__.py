"""Retrieval: what answers are grounded in, what is let through on the way, and where it is logged."""
