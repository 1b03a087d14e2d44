"""Serving: endpoints of every kind, and what stands in front of them and beside them."""
