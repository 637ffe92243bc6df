"""Benchmarks: the time that our code takes, compared with other implementations in the same run on the same data."""
import common  # noqa: F401  from here on, Ctrl-C is one line
