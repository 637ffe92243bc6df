"""Data sets with one interface (`data.dataset`), and the resumable preparation of training data (`data.parts`)."""
from data.dataset import Dataset, Sample, load

__all__ = ["Dataset", "Sample", "load"]
