"""Measurements of a checkpoint that are no tests: what `scripts/benchmark.py` runs and prints."""
