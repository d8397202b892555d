"""What the tests, the demo, the cluster and the benchmarks share."""
