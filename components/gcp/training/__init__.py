"""Training: pools, queues, notebooks, experiments, pipelines."""
