"""List the maps of an HDF5 file.

The HDF5 library can crash on a damaged file, which ends its process. `list_hdf5` therefore lists it in a process of
its own, and reports a crash as an error.
"""
import json
import signal
import subprocess
import sys
from pathlib import Path

from common.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "import sys; from data.hdf5_index import print_index; print_index(sys.argv[1])"
TIMEOUT = 300  # seconds; a damaged file can also make the library loop


def list_hdf5(path):
    """List the arrays of an HDF5 file, also those in groups.

    Parameters
    ----------
    path : path

    Returns
    -------
    (str or None, list of str)
        The file's attribute "model", and the names of the arrays with those of their groups, such as "group/name".

    Raises
    ------
    UserError
        The file is missing or damaged.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; check the path of the maps")
    try:
        child = subprocess.run([sys.executable, "-c", PROGRAM, str(Path(path).resolve())], cwd=ROOT,
                               capture_output=True, timeout=TIMEOUT, check=False, encoding="utf-8")
    except subprocess.TimeoutExpired:
        raise UserError(f"{path}: damaged: the HDF5 library did not finish in {TIMEOUT} s; predict again") from None
    if child.returncode < 0:
        crash = signal.Signals(-child.returncode).name
        raise UserError(f"{path}: damaged: the HDF5 library crashed on it ({crash}); predict again")
    if child.returncode:
        reason = (child.stderr.strip().splitlines() or ["damaged"])[-1]
        raise UserError(f"{path}: not an HDF5 file of maps, or damaged ({reason}); predict again")
    index = json.loads(child.stdout)
    return index["model"], index["names"]


def print_index(path):
    """Print the model and the names of the maps in a file, as JSON."""
    import h5py

    try:
        with h5py.File(path) as file:
            model = file.attrs.get("model")
            model = model.decode() if isinstance(model, bytes) else model
            names = list(_array_names(file, "", {h5py.h5o.get_info(file.id).addr}))
    except Exception as error:  # h5py raises many classes for damage
        sys.exit(" ".join(str(error).split()))
    json.dump({"model": None if model is None else str(model), "names": names}, sys.stdout)


def _array_names(group, prefix, visited):
    """Iterate over the names of all arrays; each group once, since links can form a circle."""
    import h5py

    for name in group:
        try:
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
        except (KeyError, OSError, RuntimeError):  # a broken link, which is reported when the map is read
            yield prefix + name
            continue
        if not isinstance(item, h5py.Group):
            yield prefix + name
        elif address not in visited:
            visited.add(address)
            yield from _array_names(item, f"{prefix}{name}/", visited)
