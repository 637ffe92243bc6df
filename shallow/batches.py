"""What the shallow net trains on, read a batch at a time from what shallow.prepare wrote."""
import contextlib

import h5py
import numpy as np

from common.errors import UserError
from shallow import preprocess

ROWS_A_CHECK = 256  # maps looked at together when a file is opened


class TrainingData:
    """shallow.h5: order and mirroring depend on seed and epoch alone.

    So a resumed run goes on with the batches that it would have had.

    Parameters
    ----------
    path : path
    target_range : (float, float)
        What maps of [0, 1] are stretched to.

    Raises
    ------
    UserError
        The file is missing or damaged, holds other sizes than the net's, or maps with NaN or outside [0, 1].
    """

    def __init__(self, path, target_range=(0.0, 1.0)):
        self.path, self.target_range = path, target_range
        if not path.is_file():
            raise UserError(f"{path}: not there; {self._remedy()}")
        with contextlib.ExitStack() as stack:
            try:
                self._file = stack.enter_context(h5py.File(path))
                self._groups = {name: (self._file[name]["image"], self._file[name]["map"]) for name in ("train", "val")}
                for images, maps in self._groups.values():
                    self._check(images, maps)
            except (OSError, KeyError) as error:
                raise UserError(f"{path}: damaged ({error}); {self._remedy()}") from error
            stack.pop_all()  # all is well: the file stays open

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __len__(self):
        return len(self._groups["train"][0])

    def batches_per_epoch(self, batch):
        """Whole batches only: the images left over in one epoch have their turn in another."""
        return max(1, len(self) // batch)

    def batch(self, epoch, index, settings):
        """Training batch `index` of an epoch: float32 (n, 3, 96, 96) in [0, 1], float32 (n, 2304) in target_range."""
        order = np.random.default_rng((settings["seed"], epoch)).permutation(len(self))
        rows = np.sort(order[index * settings["batch"]:(index + 1) * settings["batch"]])
        mirrored = np.random.default_rng((settings["seed"], epoch, index)).random(len(rows)) < 0.5
        try:
            # row by row: h5py takes ten times as long to look up a list of rows
            images, maps = (np.stack([array[row] for row in rows]) for array in self._groups["train"])
        except OSError as error:
            raise UserError(f"{self.path}: damaged ({error}); {self._remedy()}") from error
        if settings["mirror"]:
            images[mirrored], maps[mirrored] = images[mirrored, :, :, ::-1], maps[mirrored, :, ::-1]
        return self._fed(images, maps)

    def validation(self, batch):
        """All validation images, in batches as above, never mirrored."""
        images, maps = self._groups["val"]
        for start in range(0, len(images), batch):
            yield self._fed(images[start:start + batch], maps[start:start + batch])

    def _fed(self, images, maps):
        return preprocess.to_input(images), preprocess.to_target(maps, self.target_range).reshape(len(maps), -1)

    def _check(self, images, maps):
        size = (preprocess.INPUT_SIZE, preprocess.MAP_SIZE)
        wanted = ((3, size[0], size[0]), (size[1], size[1]))
        if (images.shape[1:], maps.shape[1:]) != wanted or len(images) != len(maps) or images.dtype != np.uint8:
            raise UserError(f"{self.path}: {images.name} is {images.dtype} {images.shape}, {maps.name} {maps.shape}; "
                            f"this net wants uint8 (n, *{wanted[0]}) and (n, *{wanted[1]}); {self._remedy()}")
        if not len(images):
            raise UserError(f"{self.path}: {images.name} holds no image; {self._remedy()}")
        for start in range(0, len(maps), ROWS_A_CHECK):
            rows = maps[start:start + ROWS_A_CHECK]
            bad = np.flatnonzero(~((rows >= 0) & (rows <= 1)).all(axis=(1, 2)))  # NaN is neither
            if len(bad):
                raise UserError(f"{self.path}: row {start + bad[0]} of {maps.name} holds NaN or leaves [0, 1]; "
                                f"{self._remedy()}")

    def _remedy(self):
        return f"delete {self.path.parent} and run `make data` again"
