"""Saliency maps on disk: one float32 array per image in HDF5, because 8-bit maps produce ties in the AUCs.

Maps of other programs are read from a folder with one file per image that has the image's name.
"""
import contextlib
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic, need_space
from common.images import IMAGE_SUFFIXES

PREDICTIONS = "predictions.h5"  # written by models.predict


@contextlib.contextmanager
def write_maps(path, model):
    """Open a file of maps for writing; it gets its name only after all maps are written.

    Parameters
    ----------
    path : path of an .h5 file
    model : str
        Name of the model, for tables.

    Yields
    ------
    callable (name, float32 (H, W) in [0, 1])
        Stores one map.
    """
    import h5py

    with atomic(path) as scratch, h5py.File(scratch, "w") as file:
        file.attrs["model"] = model

        def store(name, saliency):
            need_space(scratch.parent, 2 * saliency.nbytes + (1 << 20))  # h5py's error on a full disk is unclear
            # not compressed: compression saves a third of the space but takes as long as the shallow net
            file.create_dataset(name, data=np.asarray(saliency, np.float32))

        yield store


class Maps:
    """A file of maps for reading: `maps[name]` reads float32 (H, W) from disk.

    Parameters
    ----------
    path : path of an .h5 file written by `write_maps`

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
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:  # damaged, or not an array
            raise UserError(f"{self.path}: no readable map {name!r} in it ({error}); predict again") from error
        return _check_map(values, f"{self.path}: {name}")


class MapFolder:
    """A folder of maps for reading: NAME.npy, NAME.mat (variable I, as in LSUN) or a grey image NAME.png, .jpg, ...

    Same interface as `Maps`. Values are those of the file; image files are not divided by 255.

    Parameters
    ----------
    path : path of a folder

    Raises
    ------
    UserError
        The folder holds no map, or two files have the same name.
    """

    def __init__(self, path):
        self.path, self.model = Path(path), Path(path).resolve().name
        self.files = {}
        for file in sorted(self.path.iterdir()):
            if file.suffix.lower() in (".npy", ".mat", *IMAGE_SUFFIXES):
                if file.stem in self.files:
                    raise UserError(f"{file}: there is also {self.files[file.stem].name}; keep one map per image")
                self.files[file.stem] = file
        if not self.files:
            raise UserError(f"{path}: no map in this folder (looked for .npy, .mat and image files); "
                            "give the folder with one map per image, each with the image's name")
        self.names = set(self.files)

    def __contains__(self, name):
        return name in self.files

    def __getitem__(self, name):
        return read_map(self.files[name])


def open_maps(path):
    """Open maps: a file written by `write_maps`, a folder that holds predictions.h5, or a folder of single maps.

    Parameters
    ----------
    path : path

    Returns
    -------
    Maps or MapFolder

    Raises
    ------
    UserError
        `path` does not exist or holds no maps.
    """
    path = Path(path)
    if path.is_dir():
        return Maps(path / PREDICTIONS) if (path / PREDICTIONS).is_file() else MapFolder(path)
    return Maps(path)


def read_map(path):
    """Read one map from a .npy, .mat or image file; values as in the file.

    Parameters
    ----------
    path : path

    Returns
    -------
    (H, W), real

    Raises
    ------
    UserError
        The file is damaged, or its content is not a map.
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
            with Image.open(path) as image:
                # 16-bit and float images are grey already; colour images are converted to luminance
                values = np.asarray(image if image.mode[0] in "IF" else image.convert("L"))
    except KeyError as error:
        raise UserError(f"{path}: has no variable I; save the map as variable I, as in LSUN, or as .npy") from error
    except Exception as error:  # each reader raises its own classes for damage
        raise UserError(f"{path}: cannot be read as a map ({error}); write it again") from error
    return _check_map(values, path)


def _check_map(values, source):
    """Return the values if they are a map, one real number per pixel; otherwise raise UserError."""
    if values.ndim != 2 or not values.size or values.dtype.kind not in "fiub":
        raise UserError(f"{source}: holds {values.dtype} of shape {values.shape}, a map has one number per pixel; "
                        "write it again as (rows, columns)")
    return values
