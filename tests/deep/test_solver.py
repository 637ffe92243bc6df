"""Caffe's solver on our files against NumPy, and its ability to learn."""

import numpy as np
import pytest

from deep.backend import load_caffe
from deep.prototxt import SOLVER, parse_prototxt
from deep.solver import solver_on
from deep.trainer import learning_rate
from tests.conftest import python
from tests.deep import restated

caffe = load_caffe()
HEIGHT, WIDTH = 12, 16  # pools round up: 6x8, 3x4


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (2, 3, HEIGHT, WIDTH)), rng.uniform(-1, 1, (2, 1, HEIGHT, WIDTH))


def parameters(net):
    return {name: [np.array(blob.data, np.float64) for blob in blobs] for name, blobs in net.params.items()}


def loss_and_gradients(params, data, label):
    """Caffe's loss, sum / (2 x images), and its gradients."""
    loss, gradients = 0.0, None
    for image, target in zip(data.astype(np.float32), label.astype(np.float32)):
        answer, steps = restated.forward(params, image)
        loss += ((answer - target[0]) ** 2).sum() / (2 * len(data))
        found = restated.backward(params, steps, (answer - target[0]) / len(data))
        gradients = found if gradients is None else {
            name: [one + other for one, other in zip(arrays, found[name])] for name, arrays in gradients.items()}
    return loss, gradients


@pytest.mark.slow
def test_two_steps_of_caffe_equal_numpy(batch, tmp_path):
    """Momentum, weight decay, lr_mult and decay_mult: what the solver and train_val.prototxt say, on the whole net."""
    # at this rate, steps are far above the rounding of the weights; with this decay, it matters beside the gradient
    rate, decay = 0.3, 1e-3
    solver = solver_on(tmp_path, *batch, base_lr=rate, weight_decay=decay, random_seed=1)
    for blobs in solver.net.params.values():
        if len(blobs) > 1:
            blobs[1].data[...] = np.random.default_rng(1).normal(0, 0.1, blobs[1].data.shape)
    expected = parameters(solver.net)
    velocity = {name: [np.zeros_like(array) for array in arrays] for name, arrays in expected.items()}
    for _ in range(2):
        before = parameters(solver.net)
        solver.step(1)
        loss, gradients = loss_and_gradients(expected, *batch)
        assert float(solver.net.blobs["loss"].data) == pytest.approx(loss, rel=1e-5)
        for name, arrays in expected.items():
            for index, array in enumerate(arrays):
                lr_mult, decay_mult = ((1, 1), (2, 0))[index]
                step = 0.9 * velocity[name][index] + rate * lr_mult * (
                    gradients[name][index] + decay * decay_mult * array)
                velocity[name][index] = step
                array -= step
                made = before[name][index] - np.array(solver.net.params[name][index].data, np.float64)
                np.testing.assert_allclose(made, step, rtol=1e-3, atol=1e-3 * np.abs(step).max(), err_msg=name)
    assert np.abs(velocity["deconv"][0]).max() > 1e-3  # the deconvolution learns


@pytest.mark.slow
def test_numpys_gradients_equal_finite_differences(batch, tmp_path):
    """So that the test above compares Caffe with the truth and not with the same mistake."""
    data, label = (array[:1] for array in batch)
    params = parameters(solver_on(tmp_path, *batch, random_seed=1).net)
    _, gradients = loss_and_gradients(params, data, label)
    rng = np.random.default_rng(2)
    for name in ("conv1", "conv2", "conv5", "conv9", "deconv"):
        for index, array in enumerate(params[name]):
            where = np.unravel_index(rng.integers(array.size), array.shape)
            change = 1e-5 * max(1e-2, abs(array[where]))
            losses = []
            for sign in (1, -1):
                array[where] += sign * change
                losses.append(loss_and_gradients(params, data, label)[0])
                array[where] -= sign * change
            found = (losses[0] - losses[1]) / (2 * change)
            assert found == pytest.approx(gradients[name][index][where], rel=1e-3, abs=1e-7), (name, index)


@pytest.mark.slow
def test_overfits_four_images(tmp_path):
    """Four pictures with a bright spot each, where people look: the net must come to know them by heart."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :32]
    data, label = rng.uniform(-0.2, 0.2, (4, 3, 24, 32)), np.empty((4, 1, 24, 32))
    for image, map_, (row, column) in zip(data, label, [(6, 8), (6, 24), (18, 8), (15, 22)]):
        spot = np.exp(-((x - column) ** 2 + (y - row) ** 2) / 18)
        image += spot
        map_[0] = 1.2 * spot - 0.2
    # 20 times the paper's rate: with four images there is nothing to average over, and no time for 24,000 iterations
    solver = solver_on(tmp_path, data, label, batch=4, base_lr=20 * 0.01 / (24 * 32), random_seed=2016)
    losses = []
    for _ in range(50):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    assert losses[-1] < 0.1 * losses[0], losses
    answers = solver.net.blobs["deconv"].data
    for answer, map_ in zip(answers, label):
        assert np.corrcoef(answer.ravel(), map_.ravel())[0, 1] > 0.9


def test_the_solver_on_arrays_is_the_papers(batch, tmp_path):
    solver_on(tmp_path, *batch)
    ours = parse_prototxt(tmp_path / "solver.prototxt", caffe.proto.caffe_pb2.SolverParameter())
    paper = parse_prototxt(SOLVER, caffe.proto.caffe_pb2.SolverParameter())
    for name in ("type", "momentum", "weight_decay", "lr_policy", "gamma", "stepsize", "max_iter"):
        assert getattr(ours, name) == getattr(paper, name)
    assert ours.base_lr * HEIGHT * WIDTH == pytest.approx(paper.base_lr * 320 * 240)


@pytest.mark.parametrize("policy", [
    'lr_policy: "fixed"', 'lr_policy: "step" gamma: 0.5 stepsize: 2', 'lr_policy: "exp" gamma: 0.7',
    'lr_policy: "inv" gamma: 0.3 power: 0.75', 'lr_policy: "multistep" gamma: 0.5 stepvalue: 1 stepvalue: 4',
    'lr_policy: "poly" power: 2', 'lr_policy: "sigmoid" gamma: 0.8 stepsize: 3'])
def test_the_logged_learning_rate_is_caffes(tmp_path, policy):
    """Read off a net of one weight: what the solver moves it by, over its gradient."""
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


ONE_STEP = """
import sys
import numpy as np
from deep.solver import solver_on
rng = np.random.default_rng(0)
solver = solver_on(sys.argv[1], rng.uniform(-1, 1, (2, 3, 48, 64)), rng.uniform(-1, 1, (2, 1, 48, 64)), random_seed=1)
solver.net.forward()
solver.net.backward()
np.savez(sys.argv[2], answer=solver.net.blobs["deconv"].data, **{n: blobs[0].diff for n, blobs in solver.net.params.items()})
"""


@pytest.mark.slow
def test_caffes_loops_give_the_same_on_any_number_of_threads(tmp_path):
    """Patch 0002: forward and backward, bit for bit, with the matrix products on one thread."""
    results = []
    for threads in (1, 3):
        (tmp_path / str(threads)).mkdir()
        out = tmp_path / f"{threads}.npz"
        process = python("-c", ONE_STEP, tmp_path / str(threads), out, CAFFE_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS="1")
        assert process.returncode == 0, process.stderr
        results.append(np.load(out))
    for name in results[0].files:
        assert np.ptp(results[0][name]) > 0
        np.testing.assert_array_equal(results[0][name], results[1][name], err_msg=name)
