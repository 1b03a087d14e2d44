"""Cost on AWS."""
