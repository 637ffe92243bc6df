"""Data sets with one interface (`data.dataset`), and the resumable preparation of training data (`data.parts`)."""
import common  # noqa: F401  from here on, Ctrl-C is one line
from data.dataset import Dataset, Sample, load

__all__ = ["Dataset", "Sample", "load"]
