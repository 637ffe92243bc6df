"""Training the deep net: run folder, resuming, and Caffe's errors as one line."""
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from data import runs
from data.errors import UserError
from deep import surgery
from deep.backend import DEPLOY, last_words, load_caffe
from deep.weights import check_weights, net_shapes, read_caffemodel
from tests.conftest import REPOSITORY, command, one_line

caffe = load_caffe()


@pytest.mark.slow
def test_interrupted_and_resumed_equals_uninterrupted(prepared, tmp_path):
    arguments = ["--data", prepared, "--iterations", "4"]
    whole = command("deep.train", *arguments, "--run", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    broken = [sys.executable, "-m", "deep.train", *map(str, arguments), "--run", str(tmp_path / "broken")]
    process = subprocess.Popen(broken, cwd=REPOSITORY, text=True, stderr=subprocess.PIPE)
    while not (log := tmp_path / "broken/log.csv").is_file() or len(log.read_text().splitlines()) < 2:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and errors.strip().splitlines()[-1].startswith("interrupted:"), errors
    assert (tmp_path / "broken/snapshot.json").is_file()
    assert command("deep.train", *arguments, "--run", tmp_path / "broken").returncode == 0
    first, second = (read_caffemodel(tmp_path / run / "weights.caffemodel") for run in ("whole", "broken"))
    for name, blobs in first.items():
        for one, other in zip(blobs, second[name]):
            np.testing.assert_array_equal(one, other, err_msg=name)
    rows = runs.read_log(tmp_path / "broken/log.csv")
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4] and rows[-1]["val_cc"] is not None
    # section 4.2: the rate is 0.01 over the number of pixels; Caffe's loss is sum / 2N
    assert rows[0]["lr"] == pytest.approx(0.01 / (128 * 96), rel=1e-6)
    assert rows[0]["rmse"] == pytest.approx((2 * rows[0]["loss"] / (128 * 96)) ** 0.5, rel=1e-5)
    config = runs.read_config(tmp_path / "broken/weights.caffemodel", "deep")
    assert config["predict"]["longest_side"] == 128 and config["versions"]["caffe"] == "1.0.0"
    assert "already trained" in command("deep.train", *arguments, "--run", tmp_path / "whole").stdout


def test_a_failed_check_of_caffe_is_one_line(prepared, tmp_path):
    """Data that passes our look at it but not Caffe's: a label of another number of rows than the data."""
    from data.files import read_json, write_json
    (tmp_path / "deep").mkdir()
    for split in ("train", "val"):
        path = tmp_path / f"deep/{split}_000.h5"
        with h5py.File(path, "w") as shard:
            shard["data"], shard["label"] = np.zeros((4, 3, 96, 128), "f4"), np.zeros((3, 1, 96, 128), "f4")
    write_json(tmp_path / "manifest.json", read_json(prepared / "manifest.json"))
    line = one_line(command("deep.train", "--data", tmp_path, "--run", tmp_path / "run"))
    assert line.startswith("error: Caffe stopped: Check failed:") and "caffe.log" in line


@pytest.mark.parametrize("damage, complaint", [
    (lambda deep: (deep / "train_000.h5").write_bytes(b"HDF"), r"train_000\.h5: damaged"),
    (lambda deep: (deep / "val_000.h5").unlink(), r"no val_\*\.h5"),
])
def test_damaged_data_is_named_before_caffe_sees_it(prepared, tmp_path, damage, complaint):
    import re
    import shutil
    shutil.copytree(prepared, tmp_path / "data")
    damage(tmp_path / "data/deep")
    assert re.search(complaint, one_line(command("deep.train", "--data", tmp_path / "data", "--run", tmp_path / "run")))


def test_a_mistake_in_the_solver_file_is_named(prepared, tmp_path):
    (tmp_path / "mine.prototxt").write_text("base_lr: 0.1\nmomentun: 0.9\n")
    line = one_line(command("deep.train", "--data", prepared, "--run", tmp_path / "run", "--solver", tmp_path / "mine.prototxt"))
    assert "mine.prototxt: line 2" in line and "momentun" in line


def test_a_solver_file_of_ones_own_counts_at_demo_scale_too(prepared, tmp_path):
    from argparse import Namespace

    from deep.train import SOLVER, resolve_solver
    (tmp_path / "mine.prototxt").write_text('type: "SGD" base_lr: 2e-7 momentum: 0.5 lr_policy: "step" gamma: 0.1 stepsize: 7 '
                                            "weight_decay: 0 max_iter: 9 test_interval: 3 snapshot: 3")
    size = {"size": [128, 96], "val": 4}
    mine = resolve_solver(Namespace(solver=tmp_path / "mine.prototxt", preset="demo", iterations=None, seed=1), size)
    assert mine["stepsize"] == 7 and mine["base_lr"] == pytest.approx(2e-7 * 6.25) and mine["max_iter"] == 100
    ours = resolve_solver(Namespace(solver=SOLVER, preset="paper", iterations=None, seed=1), {"size": [320, 240], "val": 1000})
    assert ours["stepsize"] == 2000 and ours["max_iter"] == 24_000 and ours["test_iter"] == [500]
    assert ours["base_lr"] == pytest.approx(0.01 / 76_800)


def test_a_path_with_a_space_is_refused_before_caffe_sees_it(prepared, tmp_path):
    import shutil
    shutil.copytree(prepared, tmp_path / "my data")
    line = one_line(command("deep.train", "--data", tmp_path / "my data", "--run", tmp_path / "run"))
    assert "no path with a space" in line


def test_last_words(tmp_path):
    (tmp_path / "log").write_text("I1123 17:00:00.1 77 net.cpp:5] fine\n"
                                  "F1123 17:00:01.2   77 hdf5.cpp:9] Check failed: status >= 0 (-1 vs. 0) Failed\n*** Check\n")
    assert last_words(tmp_path / "log") == "Check failed: status >= 0 (-1 vs. 0) Failed"
    assert last_words(tmp_path / "log", (tmp_path / "log").stat().st_size) == "no reason given"


def test_caffemodel_errors(deep_weights, tmp_path):
    expected = net_shapes(caffe.Net(str(DEPLOY), caffe.TEST))
    check_weights(read_caffemodel(deep_weights), expected, deep_weights)
    whole = deep_weights.read_bytes()
    for damage, complaint in [(whole[:len(whole) // 2], "cut off"), (b"<html>not found</html>", "cut off|no layer"),
                              (b"", "no layer with weights")]:
        (tmp_path / "bad.caffemodel").write_bytes(damage)
        with pytest.raises(UserError, match=rf"bad\.caffemodel: .*({complaint})"):
            read_caffemodel(tmp_path / "bad.caffemodel")
    with pytest.raises(UserError, match="No such file"):
        read_caffemodel(tmp_path / "gone.caffemodel")
    weights = read_caffemodel(deep_weights)
    for change, complaint in [({"conv5": []}, "shapes"), ({"conv1": [np.full((96, 3, 7, 7), np.nan), np.zeros(96)]}, "NaN")]:
        with pytest.raises(UserError, match=complaint):
            check_weights({**weights, **change}, expected, deep_weights)
    del weights["conv9"]
    with pytest.raises(UserError, match="no layer 'conv9'"):
        check_weights(weights, expected, deep_weights)


def test_surgery_copies_three_layers(tmp_path):
    """From a file of VGG_CNN_M's first layers that the test makes, in real Caffe format."""
    prototxt = tmp_path / "vgg.prototxt"
    prototxt.write_text('layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 64, 64] } } }' + "".join(
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
        f'num_output: {count} kernel_size: {kernel} weight_filler {{ type: "gaussian" std: 0.1 }} }} }}'
        for name, bottom, count, kernel in [("conv1", "data", 96, 7), ("conv2", "conv1", 256, 5), ("conv3", "conv2", 512, 3),
                                            ("conv4", "conv3", 512, 3)]))
    vgg = caffe.Net(str(prototxt), caffe.TEST)
    vgg.params["conv1"][1].data[...] = 0.25
    vgg.save(str(tmp_path / "vgg.caffemodel"))
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    report = surgery.transplant(net, tmp_path / "vgg.caffemodel")
    for name in surgery.TRANSFERRED:
        for blob, source in zip(net.params[name], vgg.params[name]):
            np.testing.assert_array_equal(blob.data, source.data)
    assert not net.params["conv4"][0].data.any() and len(report) == 10 and "conv4: starts at random" in report
    surgery.transplant(net, tmp_path / "vgg.caffemodel", rescale=True)
    np.testing.assert_allclose(net.params["conv1"][0].data, vgg.params["conv1"][0].data * 127.5, rtol=1e-5)
    np.testing.assert_array_equal(net.params["conv1"][1].data, vgg.params["conv1"][1].data)


def test_surgery_refuses_another_net(deep_weights, tmp_path):
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    with pytest.raises(UserError, match="No such file"):
        surgery.transplant(net, tmp_path / "gone.caffemodel")
