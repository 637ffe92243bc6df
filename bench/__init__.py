"""Benchmarks: the time that our code takes, compared with other implementations in the same run on the same data."""
