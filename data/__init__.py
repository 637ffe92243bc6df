"""Data sets behind one contract (`data.dataset`), and what both nets train on (`data.prepare`)."""
from data.dataset import Dataset, Sample, load

__all__ = ["Dataset", "Sample", "load"]
