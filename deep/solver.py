"""The deep net's solver on arrays at hand instead of a data set: for benchmarks, tests and measuring memory."""
import re
from pathlib import Path

import numpy as np

from deep.backend import load_caffe
from deep.prototxt import SOLVER, TRAIN_VAL, parse_prototxt


def solver_on(folder, data, label, batch=2, **settings):
    """train_val.prototxt and solver.prototxt on these arrays, as a solver that writes no snapshots.

    Parameters
    ----------
    folder : path
        The solver's files are written there, and have to stay while it is used.
    data : float32 (n, 3, h, w), what the net is fed
    label : float32 (n, 1, h, w), what it is to answer; h and w multiples of 4
    batch : int
    **settings
        Of the solver, in place of solver.prototxt's; base_lr is adapted to h and w if it is not among them.

    Returns
    -------
    caffe.SGDSolver
    """
    import h5py
    from google.protobuf import text_format

    from deep.preprocess import TRAIN_SIZE

    caffe, folder = load_caffe(), Path(folder)
    with h5py.File(folder / "data.h5", "w") as file:
        file["data"], file["label"] = np.asarray(data, np.float32), np.asarray(label, np.float32)
    (folder / "list.txt").write_text(f"{folder / 'data.h5'}\n")
    net = re.sub(r'source: "[^"]*"', f'source: "{folder / "list.txt"}"', TRAIN_VAL.read_text(encoding="utf-8"))
    (folder / "net.prototxt").write_text(re.sub(r"batch_size: \d+", f"batch_size: {batch}", net))
    solver = parse_prototxt(SOLVER, caffe.proto.caffe_pb2.SolverParameter())
    for field in ("test_iter", "test_interval", "snapshot", "display"):
        solver.ClearField(field)
    solver.base_lr *= np.prod(TRAIN_SIZE) / np.prod(label.shape[-2:])
    solver.MergeFrom(caffe.proto.caffe_pb2.SolverParameter(
        net=str(folder / "net.prototxt"), snapshot_after_train=False, **settings))
    (folder / "solver.prototxt").write_text(text_format.MessageToString(solver))
    return caffe.get_solver(str(folder / "solver.prototxt"))
