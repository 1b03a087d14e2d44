"""Kubernetes: what runs inside a cluster, the same on EKS and GKE."""
