"""Benchmarks: pipelines from PostgreSQL to S3, side by side in one run."""
