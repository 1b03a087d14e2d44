"""What everything on AWS stands on: the account, keys, identities, the network, secrets."""
