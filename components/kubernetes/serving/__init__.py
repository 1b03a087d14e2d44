"""What answers in a cluster."""
