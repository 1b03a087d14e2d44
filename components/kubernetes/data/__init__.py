"""What work in a cluster reads and writes besides its own disk."""
