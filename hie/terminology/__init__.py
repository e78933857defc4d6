"""Code systems, value sets, the affinity domain."""
