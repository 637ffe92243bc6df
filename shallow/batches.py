"""The shallow net's training data, read batch by batch from shallow.h5."""
import contextlib

import h5py
import numpy as np

from common.errors import UserError
from shallow import preprocess

ROWS_PER_CHECK = 256  # number of maps that are checked at once when a file is opened


class TrainingData:
    """The images and density maps of shallow.h5, in batches.

    Order and mirroring depend only on seed and epoch, so a resumed run gets the same batches as an
    uninterrupted one. A context manager: it closes the file.

    Parameters
    ----------
    path : pathlib.Path
    target_range : (float, float)
        Range that the maps are stretched to from [0, 1].

    Raises
    ------
    UserError
        The file is missing or damaged, or its images or maps have other sizes than the net's, or a map holds NaN or
        values outside [0, 1].
    """

    def __init__(self, path, target_range=(0.0, 1.0)):
        self.path, self.target_range = path, target_range
        if not path.is_file():
            raise UserError(f"{path}: no such file; {self._remedy()}")
        with contextlib.ExitStack() as stack:
            try:
                self._file = stack.enter_context(h5py.File(path))
                self._splits = {name: (self._file[name]["image"], self._file[name]["map"]) for name in ("train", "val")}
                for images, maps in self._splits.values():
                    self._check(images, maps)
            except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
                raise UserError(f"{path}: damaged ({error}); {self._remedy()}") from error
            stack.pop_all()  # no error: the file stays open

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __len__(self):
        return len(self._splits["train"][0])

    def batches_per_epoch(self, batch):
        """Return the number of whole batches; images left over in one epoch are used in another."""
        return max(1, len(self) // batch)

    def batch(self, epoch, index, settings):
        """Read one training batch.

        Parameters
        ----------
        epoch, index : int
            Epoch, and batch of the epoch, both from 0.
        settings : dict
            seed, batch (number of images) and mirror (mirror a random half) are used.

        Returns
        -------
        (float32 (n, 3, 96, 96), float32 (n, 2304))
            Images in [0, 1], and targets in target_range.

        Raises
        ------
        UserError
            The file is damaged.
        """
        order = np.random.default_rng((settings["seed"], epoch)).permutation(len(self))
        rows = np.sort(order[index * settings["batch"]:(index + 1) * settings["batch"]])
        mirrored = np.random.default_rng((settings["seed"], epoch, index)).random(len(rows)) < 0.5
        try:
            # row by row: h5py takes ten times as long for a list of rows
            images, maps = (np.stack([array[row] for row in rows]) for array in self._splits["train"])
        except OSError as error:
            raise UserError(f"{self.path}: damaged ({error}); {self._remedy()}") from error
        if settings["mirror"]:
            images[mirrored], maps[mirrored] = images[mirrored, :, :, ::-1], maps[mirrored, :, ::-1]
        return self._to_training(images, maps)

    def validation(self, batch):
        """Iterate over all validation images, never mirrored.

        Parameters
        ----------
        batch : int
            Number of images per batch.

        Yields
        ------
        (float32 (n, 3, 96, 96), float32 (n, 2304))
            As returned by `batch`.
        """
        images, maps = self._splits["val"]
        for start in range(0, len(images), batch):
            yield self._to_training(images[start:start + batch], maps[start:start + batch])

    def _to_training(self, images, maps):
        return preprocess.to_input(images), preprocess.to_target(maps, self.target_range).reshape(len(maps), -1)

    def _check(self, images, maps):
        image_shape = (3, preprocess.INPUT_SIZE, preprocess.INPUT_SIZE)
        map_shape = (preprocess.MAP_SIZE, preprocess.MAP_SIZE)
        shapes = images.shape[1:], maps.shape[1:]
        if shapes != (image_shape, map_shape) or len(images) != len(maps) or images.dtype != np.uint8:
            raise UserError(f"{self.path}: {images.name} is {images.dtype} {images.shape}, {maps.name} {maps.shape}, "
                            f"this net needs uint8 (n, *{image_shape}) and (n, *{map_shape}); {self._remedy()}")
        for array in (images, maps):  # not compressed; a damaged file can announce any number of rows
            if array.id.get_storage_size() < array.nbytes:
                raise UserError(f"{self.path}: {array.name} announces {len(array)} rows but has fewer; "
                                f"{self._remedy()}")
        if not len(images):
            raise UserError(f"{self.path}: {images.name} holds no image; {self._remedy()}")
        for start in range(0, len(maps), ROWS_PER_CHECK):
            rows = maps[start:start + ROWS_PER_CHECK]
            bad = np.flatnonzero(~((rows >= 0) & (rows <= 1)).all(axis=(1, 2)))  # both comparisons are false for NaN
            if len(bad):
                raise UserError(f"{self.path}: row {start + bad[0]} of {maps.name} holds NaN or values outside [0, 1]; "
                                f"{self._remedy()}")

    def _remedy(self):
        return f"delete {self.path.parent} and run `make data` again"
