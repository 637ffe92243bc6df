"""Saliency maps on disk: one float32 array an image in HDF5, since 8-bit maps make ties in the AUCs."""
import contextlib
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.files import atomic, need_space


@contextlib.contextmanager
def write_maps(path, model):
    """Open a file of maps to write; it appears under its name only when all are in it.

    Parameters
    ----------
    path : path of an .h5
    model : str
        What made them, for tables.

    Yields
    ------
    callable (name, float32 (H, W) in [0, 1])
        Stores one map.
    """
    import h5py

    with atomic(path) as scratch, h5py.File(scratch, "w") as file:
        file.attrs["model"] = model

        def store(name, saliency):
            need_space(scratch.parent, 2 * saliency.nbytes + (1 << 20))  # HDF5 does not fail tidily
            # cheap compression: maps are smooth, and a data set of them is large
            file.create_dataset(name, data=np.asarray(saliency, np.float32), compression="lzf", shuffle=True)

        yield store


class Maps:
    """A file of maps to read: `maps[name]` gives float32 (H, W), read when asked for.

    Parameters
    ----------
    path : path of an .h5 that `write_maps` wrote

    Raises
    ------
    UserError
        The file is missing or damaged.
    """

    def __init__(self, path):
        import h5py

        self.path = Path(path)
        try:
            with h5py.File(path) as file:
                self.names = set(file)
                self.model = str(file.attrs.get("model", self.path.stem))
        except OSError as error:
            raise UserError(f"{path}: missing, or not an HDF5 file of maps ({error}); predict again") from error

    def __contains__(self, name):
        return name in self.names

    def __getitem__(self, name):
        import h5py

        try:
            with h5py.File(self.path) as file:
                return file[name][...]
        except (OSError, KeyError) as error:
            raise UserError(f"{self.path}: no readable map {name!r} in it ({error}); predict again") from error
