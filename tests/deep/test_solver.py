"""Compare Caffe's solver on our files with NumPy; test that the net learns, and how solver files are resolved."""
import numpy as np
import pytest

from common.errors import UserError
from deep.backend import load_caffe
from deep.prototxt import SOLVER, TRAIN_VAL, parse_prototxt
from deep.solver import learning_rate, replacements, resolve_solver, write_solver
from deep.trainer import create_solver
from tests.conftest import command, one_line, python
from tests.deep import reference

caffe = load_caffe()
HEIGHT, WIDTH = 12, 16  # pools round up: 6x8, 3x4


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (2, 3, HEIGHT, WIDTH)), rng.uniform(-1, 1, (2, 1, HEIGHT, WIDTH))


def copy_parameters(net):
    return {name: [np.array(blob.data, np.float64) for blob in blobs] for name, blobs in net.params.items()}


def loss_and_gradients(params, data, label):
    """Compute Caffe's loss, sum / (2 x images), and its gradients in NumPy."""
    loss, gradients = 0.0, None
    for image, target in zip(data.astype(np.float32), label.astype(np.float32)):
        output, steps = reference.forward(params, image)
        loss += ((output - target[0]) ** 2).sum() / (2 * len(data))
        image_gradients = reference.backward(params, steps, (output - target[0]) / len(data))
        gradients = image_gradients if gradients is None else {
            name: [total + added for total, added in zip(arrays, image_gradients[name])]
            for name, arrays in gradients.items()}
    return loss, gradients


@pytest.mark.slow
def test_two_iterations_of_caffe_equal_numpy(batch, tmp_path):
    """The whole net, with momentum, weight decay, lr_mult and decay_mult of the solver file and train_val.prototxt."""
    # the updates are much larger than the rounding of the weights, and the decay is not negligible beside the gradient
    rate, decay = 0.3, 1e-3
    solver = create_solver(tmp_path, *batch, base_lr=rate, weight_decay=decay, random_seed=1)
    for blobs in solver.net.params.values():
        if len(blobs) > 1:
            blobs[1].data[...] = np.random.default_rng(1).normal(0, 0.1, blobs[1].data.shape)
    expected = copy_parameters(solver.net)
    velocity = {name: [np.zeros_like(array) for array in arrays] for name, arrays in expected.items()}
    for _ in range(2):
        before = copy_parameters(solver.net)
        solver.step(1)
        loss, gradients = loss_and_gradients(expected, *batch)
        assert float(solver.net.blobs["loss"].data) == pytest.approx(loss, rel=1e-5)
        for name, arrays in expected.items():
            for index, array in enumerate(arrays):
                lr_mult, decay_mult = ((1, 1), (2, 0))[index]
                update = 0.9 * velocity[name][index] + rate * lr_mult * (
                    gradients[name][index] + decay * decay_mult * array)
                velocity[name][index] = update
                array -= update
                actual = before[name][index] - np.array(solver.net.params[name][index].data, np.float64)
                np.testing.assert_allclose(actual, update, rtol=1e-3, atol=1e-3 * np.abs(update).max(), err_msg=name)
    assert np.abs(velocity["deconv1"][0]).max() > 1e-3  # the deconvolution learns


@pytest.mark.slow
def test_the_gradients_in_numpy_equal_finite_differences(batch, tmp_path):
    """Otherwise, the test above could compare Caffe with the same mistake."""
    data, label = (array[:1] for array in batch)
    params = copy_parameters(create_solver(tmp_path, *batch, random_seed=1).net)
    _, gradients = loss_and_gradients(params, data, label)
    rng = np.random.default_rng(2)
    for name in ("conv1", "conv2", "conv5", "conv9", "deconv1"):
        for index, array in enumerate(params[name]):
            position = np.unravel_index(rng.integers(array.size), array.shape)
            change = 1e-5 * max(1e-2, abs(array[position]))
            losses = []
            for sign in (1, -1):
                array[position] += sign * change
                losses.append(loss_and_gradients(params, data, label)[0])
                array[position] -= sign * change
            difference = (losses[0] - losses[1]) / (2 * change)
            assert difference == pytest.approx(gradients[name][index][position], rel=1e-3, abs=1e-7), (name, index)


@pytest.mark.slow
def test_the_net_overfits_four_images(tmp_path):
    """In each of four images, the density map is the bright spot of the image; the net must reproduce all maps."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :32]
    data, label = rng.uniform(-0.2, 0.2, (4, 3, 24, 32)), np.empty((4, 1, 24, 32))
    for image, map_, (row, column) in zip(data, label, [(6, 8), (6, 24), (18, 8), (15, 22)]):
        spot = np.exp(-((x - column) ** 2 + (y - row) ** 2) / 18)
        image += spot
        map_[0] = 1.2 * spot - 0.2
    # 20 times the paper's learning rate: four images in one batch allow it, and 24,000 iterations would take too long
    solver = create_solver(tmp_path, data, label, batch=4, base_lr=20 * 0.01 / (24 * 32), random_seed=2016)
    losses = []
    for _ in range(50):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    assert losses[-1] < 0.1 * losses[0], losses
    for output, map_ in zip(solver.net.blobs["deconv1"].data, label):
        assert np.corrcoef(output.ravel(), map_.ravel())[0, 1] > 0.9


def test_a_solver_on_arrays_has_the_papers_settings(batch, tmp_path):
    create_solver(tmp_path, *batch)
    ours = parse_prototxt(tmp_path / "solver.prototxt", caffe.proto.caffe_pb2.SolverParameter())
    paper = parse_prototxt(SOLVER, caffe.proto.caffe_pb2.SolverParameter())
    for name in ("type", "momentum", "weight_decay", "lr_policy", "gamma", "stepsize", "max_iter"):
        assert getattr(ours, name) == getattr(paper, name)
    assert ours.base_lr * HEIGHT * WIDTH == pytest.approx(paper.base_lr * 320 * 240)


@pytest.mark.parametrize("policy", [
    'lr_policy: "fixed"', 'lr_policy: "step" gamma: 0.5 stepsize: 2', 'lr_policy: "exp" gamma: 0.7',
    'lr_policy: "inv" gamma: 0.3 power: 0.75', 'lr_policy: "multistep" gamma: 0.5 stepvalue: 1 stepvalue: 4',
    'lr_policy: "poly" power: 2', 'lr_policy: "sigmoid" gamma: 0.8 stepsize: 3'])
def test_the_logged_learning_rate_is_that_of_caffe(tmp_path, policy):
    """In a net of one weight, the learning rate is the update divided by the gradient."""
    (tmp_path / "net.prototxt").write_text('''
        layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
          shape { dim: [1, 1] } shape { dim: [1, 1] } data_filler { value: 1 } data_filler { value: 5 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 1 bias_term: false } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }''')
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{tmp_path / "net.prototxt"}" base_lr: 0.125 momentum: 0 max_iter: 6 snapshot_after_train: false {policy}')
    settings = parse_prototxt(tmp_path / "solver.prototxt", caffe.proto.caffe_pb2.SolverParameter())
    solver, gradients = caffe.get_solver(str(tmp_path / "solver.prototxt")), []
    weight = solver.net.params["ip"][0]
    solver.add_callback(lambda: None, lambda: gradients.append(float(weight.diff)))
    for iteration in range(6):
        before = float(weight.data)
        solver.step(1)
        assert (before - float(weight.data)) / gradients[-1] == pytest.approx(learning_rate(settings, iteration), rel=1e-4)


GRADIENTS = """
import sys
import numpy as np
from deep.trainer import create_solver
rng = np.random.default_rng(0)
solver = create_solver(sys.argv[1], rng.uniform(-1, 1, (2, 3, 48, 64)), rng.uniform(-1, 1, (2, 1, 48, 64)), random_seed=1)
solver.net.forward()
solver.net.backward()
np.savez(sys.argv[2], output=solver.net.blobs["deconv1"].data, **{n: blobs[0].diff for n, blobs in solver.net.params.items()})
"""


@pytest.mark.slow
def test_caffes_loops_give_the_same_results_on_one_and_three_threads(tmp_path):
    """Patch 0002: forward and backward are equal bit for bit; the matrix products run on one thread."""
    results = []
    for threads in (1, 3):
        (tmp_path / str(threads)).mkdir()
        out = tmp_path / f"{threads}.npz"
        process = python("-c", GRADIENTS, tmp_path / str(threads), out, CAFFE_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS="1")
        assert process.returncode == 0, process.stderr
        results.append(np.load(out))
    for name in results[0].files:
        assert np.ptp(results[0][name]) > 0
        np.testing.assert_array_equal(results[0][name], results[1][name], err_msg=name)


def test_the_demo_preset_keeps_the_schedule_of_another_solver_file(tmp_path):
    path = tmp_path / "mine.prototxt"
    path.write_text('type: "SGD" base_lr: 2e-7 momentum: 0.5 lr_policy: "step" gamma: 0.1 stepsize: 7 '
                    "weight_decay: 0 max_iter: 9 test_interval: 3 snapshot: 3")
    mine = resolve_solver(path, "demo", size=[192, 144], validation_images=4, seed=1)
    assert mine["stepsize"] == 7 and mine["base_lr"] == pytest.approx(2e-7 * (320 * 240) / (192 * 144)) and mine["max_iter"] == 300
    assert mine["test_iter"] == [2] and mine["random_seed"] == 1
    ours = resolve_solver(SOLVER, "paper", size=[320, 240], validation_images=1000, seed=1)
    assert ours["stepsize"] == 2000 and ours["max_iter"] == 24_000 and ours["test_iter"] == [100]
    assert ours["base_lr"] == pytest.approx(0.01 / 76_800)


POSTED = """net: "my_train_val.prototxt"
test_iter: 10 test_interval: 50 display: 10 average_loss: 20 lr_policy: "step" gamma: 0.5 stepsize: 100 base_lr: 0.00000013
momentum: 0.9 iter_size: 5 max_iter: 24000 weight_decay: 0.0005 snapshot: 5000 snapshot_prefix: "my_net" solver_mode: GPU
test_initialization: false
"""  # as users post them: no type, a net of their own


def test_a_solver_file_of_a_user_is_read_as_caffe_reads_it(tmp_path):
    (tmp_path / "mine.prototxt").write_text(POSTED)
    solver = resolve_solver(tmp_path / "mine.prototxt", "paper", size=[320, 240], validation_images=1000, seed=1)
    assert solver["type"] == "SGD" and solver["iter_size"] == 5
    write_solver(tmp_path, solver, vgg=None)
    written = parse_prototxt(tmp_path / "solver.prototxt", caffe.proto.caffe_pb2.SolverParameter())
    assert written.net == f"{tmp_path}/train_val.prototxt" and written.iter_size == 5
    assert written.solver_mode == written.CPU  # the command in this file runs our Caffe


def test_what_replaces_settings_of_the_solver_file_is_reported(tmp_path):
    path = tmp_path / "mine.prototxt"
    path.write_text(POSTED)
    assert [line.partition(";")[0] for line in replacements(path, TRAIN_VAL)] == [
        f"{path}: names the net my_train_val.prototxt, but this run trains {TRAIN_VAL}",
        f"{path}: solver_mode GPU has no effect"]
    # the net in the folder of the solver file, and ours under any name, are the nets that the file names
    assert len(replacements(path, tmp_path / "my_train_val.prototxt", engine="torch")) == 0
    assert replacements(SOLVER, TRAIN_VAL) == [] and len(replacements(SOLVER, tmp_path / "my_train_val.prototxt")) == 1
    path.write_text('train_net: "a.prototxt" test_net: "b.prototxt" test_net: "b.prototxt"')
    assert "names the net a.prototxt, b.prototxt, but" in replacements(path, TRAIN_VAL)[0]


def test_nets_per_phase_in_the_solver_file_are_replaced(tmp_path):
    """Caffe accepts one net only, and the run's own file sets it."""
    (tmp_path / "mine.prototxt").write_text(POSTED.replace("net:", "train_net:", 1) + 'test_net: "b.prototxt"\n')
    solver = resolve_solver(tmp_path / "mine.prototxt", "paper", size=[320, 240], validation_images=1000, seed=1)
    assert "train_net" not in solver and "test_net" not in solver


def resolve_with(*overrides):
    return resolve_solver(SOLVER, "paper", size=[320, 240], validation_images=1000, seed=1, overrides=overrides)


def test_settings_of_the_solver_can_be_overridden():
    solver = resolve_with("stepsize=500", "type=AdaDelta", "lr_policy=multistep", "stepvalue=3", "clip_gradients=1.5")
    assert (solver["stepsize"], solver["type"], solver["lr_policy"], solver["stepvalue"]) == (500, "AdaDelta", "multistep", [3])
    assert solver["clip_gradients"] == 1.5 and solver["momentum"] == pytest.approx(0.9)


@pytest.mark.parametrize("override, complaint", [
    ("stepsizes=5", "no field named \"stepsizes\""), ("stepsize=many", "give NAME=VALUE"), ("stepsize", "give NAME=VALUE"),
    ("snapshot=0", "snapshot is 0 and must be at least 1"), ("base_lr=nan", "base_lr is nan"), ("test_iter=0", r"test_iter is \[0\]"),
    ("iter_size=0", "iter_size is 0 and must be at least 1"), ("net=mine.prototxt", "the run determines net"),
    ("snapshot_format=HDF5", "the run determines snapshot_format"),
    ("solver_mode=GPU", "the run determines solver_mode; leave this option out; for a graphics card, give --gpu 0")])
def test_an_invalid_override_is_named(override, complaint):
    with pytest.raises(UserError, match=complaint):
        resolve_with(override)


@pytest.mark.parametrize("text, complaint", [
    ("base_lr: 0.1\nmomentun: 0.9\n", "mine.prototxt: line 2.*momentun"), ("base_lr: 0.1", "mine.prototxt: does not set lr_policy"),
    ('train_state { stage: "a" }', "mine.prototxt: sets train_state, which the run determines")])
def test_a_mistake_in_the_solver_file_is_named(tmp_path, text, complaint):
    (tmp_path / "mine.prototxt").write_text(text)
    with pytest.raises(UserError, match=complaint):
        resolve_solver(tmp_path / "mine.prototxt", "paper", size=[320, 240], validation_images=1000, seed=1)


def test_an_invalid_learning_rate_policy_is_an_error_of_one_line(prepared, tmp_path):
    line = one_line(command("deep.train", "--data", prepared, "--run", tmp_path / "run", "--set", "lr_policy=nonsense"))
    assert "Caffe stopped: Unknown learning rate policy: nonsense" in line
