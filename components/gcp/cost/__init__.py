"""Cost on Google Cloud."""
