"""How work waits for the machines of a cluster."""
