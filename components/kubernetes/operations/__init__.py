"""What watches a cluster from inside."""
