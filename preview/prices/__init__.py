"""What resources cost: a table of prices, and by type of resource what of it is paid for."""
