"""Data sets behind one contract (`data.dataset`), and the preparation of training data (`data.parts`)."""
from data.dataset import Dataset, Sample, load

__all__ = ["Dataset", "Sample", "load"]
