"""Damaged files that have ended or hung the process, or gave a traceback: each is an error of one line."""
import pytest

from common.errors import UserError
from common.runs import read_log
from data.layouts import read_mat
from data.maps import open_maps
from data.points import read_points
from data.salicon import read_mat_fixations
from shallow import weights
from tests.conftest import REPOSITORY

FAULTS = REPOSITORY.parent / "shared/cases/faults"
READERS = {"fuzz/mat_fix/*.mat": lambda path: read_points(path, (48, 64)),
           "fuzz/npy_fix/*.npy": lambda path: read_points(path, (48, 64)), "fuzz/gaze/*.mat": read_mat_fixations,
           "fuzz/lsun/*.mat": read_mat, "fuzz/log_csv/*.csv": read_log, "05/log.csv": read_log, "03/*.npz": weights.load,
           "04/*.h5": lambda path: read_maps(path), "preds/*.h5": lambda path: read_maps(path)}


def read_maps(path):
    maps = open_maps(path)
    return [maps[name] for name in sorted(maps.names)]


@pytest.mark.parametrize("pattern", READERS)
def test_a_damaged_file_is_read_or_is_one_line(pattern):
    paths = sorted(FAULTS.glob(pattern))
    if not paths:
        pytest.skip(f"the damaged files are not beside the checkout (looked for {FAULTS / pattern})")
    for path in paths:
        try:
            READERS[pattern](path)
        except UserError as error:
            message = str(error)
            assert message.startswith(str(path)) and "\n" not in message and "; " in message, message
