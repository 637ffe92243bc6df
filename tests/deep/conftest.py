import importlib.util
import re
import subprocess
from unittest import mock

import numpy as np
import pytest

from deep import preprocess
from deep.backend import load_caffe
from deep.names import NEW, OLD
from deep.predictor import ENGINES
from deep.prepare import prepare
from deep.prototxt import TRAIN_VAL
from tests.conftest import REPOSITORY, USER_ENVIRONMENT
from tests.fixtures.vgg import vgg_cnn_m

# engines of prediction: those that are installed, and all as parameters of a test
INSTALLED = [name for name in ENGINES if name != "torch" or importlib.util.find_spec("torch")]
ENGINE_PARAMETERS = [name if name in INSTALLED else pytest.param(name, marks=pytest.mark.skip(
    reason="PyTorch is not installed: make torch")) for name in ENGINES]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Training data of the deep net from 40 synthetic images at 192x144: 36 for training, 4 for validation."""
    out = tmp_path_factory.mktemp("prepared") / "synthetic-deep"
    prepare("synthetic", None, out, limit=40, jobs=2)
    return out


@pytest.fixture(scope="session")
def prepared_small(tmp_path_factory):
    """The same at 96x72, where an iteration takes a third of the time or less."""
    out = tmp_path_factory.mktemp("prepared-small") / "synthetic-deep"
    with mock.patch.object(preprocess, "DEMO_TRAIN_SIZE", (96, 72)):
        prepare("synthetic", None, out, limit=40, jobs=2)
    return out


@pytest.fixture(scope="session")
def vgg(tmp_path_factory):
    """Save a small VGG_CNN_M.caffemodel: the fully connected layers, which are not used, have fewer units."""
    folder = tmp_path_factory.mktemp("vgg")
    (folder / "vgg.prototxt").write_text(vgg_cnn_m((64, 64, 10)))
    caffe = load_caffe()
    net = caffe.Net(str(folder / "vgg.prototxt"), caffe.TEST)
    net.save(str(folder / "VGG_CNN_M.caffemodel"))
    return folder / "VGG_CNN_M.caffemodel"


def with_old_name(source, path):
    """Write a copy of a caffemodel of ours in which the last layer has its old name; return its path."""
    message = load_caffe().proto.caffe_pb2.NetParameter()
    message.ParseFromString(source.read_bytes())
    for layer in message.layer:
        if layer.name == NEW:
            layer.name = layer.top[0] = OLD
    path.write_bytes(message.SerializeToString())
    return path


def run_command_of(solver_file):
    """Run the command in the comment of a run's solver file."""
    command_line = solver_file.read_text().splitlines()[1].removeprefix("#")
    process = subprocess.run(["bash", "-c", command_line], cwd=REPOSITORY, capture_output=True, text=True, check=False,
                             env={**USER_ENVIRONMENT, "GLOG_logtostderr": "1"})
    assert process.returncode == 0, process.stderr


def assert_equal_to_rounding(values, others, name):
    """Compare two arrays of weights after some updates: to 1e-3 of the largest value, biases to 2e-2.

    The gradient of a bias is a sum over all pixels whose terms nearly cancel, so rounding weighs more.
    """
    tolerance = 1e-3 if values.ndim > 1 else 2e-2
    assert np.abs(np.asarray(values) - others).max() <= tolerance * np.abs(others).max(), name


def run_folder(folder, settings, batch_size=2):
    """Write a run folder of two shards, with 3 + 2 images of 32x24; `settings` are those of its solver file."""
    import h5py

    rng = np.random.default_rng(0)
    folder.mkdir()
    data, label = (rng.uniform(-1, 1, (5, channels, 24, 32)).astype(np.float32) for channels in (3, 1))
    for name, part in (("a", slice(0, 3)), ("b", slice(3, 5))):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["data"], file["label"] = data[part], label[part]
    (folder / "train.txt").write_text(f"{folder}/a.h5\n{folder}/b.h5\n")
    net = re.sub(r'source: "[^"]*"', f'source: "{folder}/train.txt"', TRAIN_VAL.read_text())
    (folder / "train_val.prototxt").write_text(re.sub(r"batch_size: \d+", f"batch_size: {batch_size}", net))
    (folder / "solver.prototxt").write_text(
        f'net: "{folder}/train_val.prototxt" snapshot_prefix: "{folder}/snapshot" base_lr: 1e-4 max_iter: 100 '
        f'lr_policy: "step" gamma: 0.5 stepsize: 7 momentum: 0.9 random_seed: 3 test_iter: 1 test_interval: 5 '
        f'{settings}{"" if "weight_decay" in settings else " weight_decay: 1e-2"}')
    return folder
