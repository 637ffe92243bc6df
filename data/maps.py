"""Saliency maps on disk: one float32 array an image in HDF5, since 8-bit maps make ties in the AUCs.

Other programs' maps are read from a folder of files too, one an image, named as the image is.
"""
import contextlib
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic, need_space
from common.images import IMAGE_SUFFIXES

PREDICTIONS = "predictions.h5"  # what models.predict writes


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
            # not compressed: it would save a third of the space and take as long as the shallow net
            file.create_dataset(name, data=np.asarray(saliency, np.float32))

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
                values = np.asarray(file[name][()])
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:  # damaged, or a group and no array
            raise UserError(f"{self.path}: no readable map {name!r} in it ({error}); predict again") from error
        return _checked(values, f"{self.path}: {name}")


class MapFolder:
    """A folder of maps to read: NAME.npy, NAME.mat (variable I, as LSUN has it) or a grey picture NAME.png, .jpg, ...

    Used like `Maps`; values are those in the file, pictures are not divided by 255.

    Parameters
    ----------
    path : path of a folder

    Raises
    ------
    UserError
        No map is in it, or two files are of one name.
    """

    def __init__(self, path):
        self.path, self.model = Path(path), Path(path).resolve().name
        self.files = {}
        for file in sorted(self.path.iterdir()):
            if file.suffix.lower() in (".npy", ".mat", *IMAGE_SUFFIXES):
                if file.stem in self.files:
                    raise UserError(f"{file}: there is also {self.files[file.stem].name}; leave one map an image")
                self.files[file.stem] = file
        if not self.files:
            raise UserError(f"{path}: no map in this folder (looked for .npy, .mat and pictures); "
                            "give the folder that holds the maps, named as the images are")
        self.names = set(self.files)

    def __contains__(self, name):
        return name in self.files

    def __getitem__(self, name):
        return read_map(self.files[name])


def open_maps(path):
    """A file of maps (`Maps`), a folder with one in it, or a folder of files (`MapFolder`).

    Raises
    ------
    UserError
        There is nothing at `path`, or no maps.
    """
    path = Path(path)
    if path.is_dir():
        return Maps(path / PREDICTIONS) if (path / PREDICTIONS).is_file() else MapFolder(path)
    return Maps(path)


def read_map(path):
    """One map of a `MapFolder`, as its file has it.

    Returns
    -------
    (H, W), real

    Raises
    ------
    UserError
        The file is damaged, or what is in it is not a map.
    """
    import scipy.io
    from PIL import Image

    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix.lower() == ".mat":
            values = scipy.io.loadmat(path)["I"]
        else:
            with Image.open(path) as picture:
                # 16-bit and float pictures are grey already; colour ones are taken by their luminance
                values = np.asarray(picture if picture.mode[0] in "IF" else picture.convert("L"))
    except KeyError as error:
        raise UserError(f"{path}: has no variable I; save the map as I, as LSUN has it, or as .npy") from error
    except Exception as error:  # each reader has its own classes for damage
        raise UserError(f"{path}: cannot be read as a map ({error}); write it again") from error
    return _checked(values, path)


def _checked(values, where):
    """The values, if they are one number a pixel."""
    if values.ndim != 2 or not values.size or values.dtype.kind not in "fiub":
        raise UserError(f"{where}: holds {values.dtype} of shape {values.shape}, a map is one number a pixel; "
                        "write it again as (rows, columns)")
    return values
