"""Data sets with one interface (`data.dataset`), and the training data of both nets (`data.prepare`)."""
from data.dataset import Dataset, Sample, load

__all__ = ["Dataset", "Sample", "load"]
