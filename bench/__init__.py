"""Benchmarks: how long it takes, beside who else does it, in the same run on the same data."""
