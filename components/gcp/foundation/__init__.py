"""What everything on Google Cloud stands on: the project, keys, identities, the network, secrets."""
