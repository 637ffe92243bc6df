"""Convolution in the Fourier domain (deep/caffe/src) against float64, and its limits."""
import numpy as np
import pytest

from deep.backend import load_caffe
from tests.conftest import python

caffe = load_caffe()
NET = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: [{n}, {inputs}, {height}, {width}] }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{
  num_output: {outputs} kernel_size: {kernel} pad: {pad} group: {groups} weight_filler {{ type: "gaussian" std: 1 }}
  bias_filler {{ type: "constant" value: 3 }} }} }}
force_backward: true
"""


def convolution(folder, shape, phase=caffe.TRAIN):
    """A net of one convolution with random input, weights and gradient of its output."""
    path = folder / "net.prototxt"
    path.write_text(NET.format(**shape))
    net, rng = caffe.Net(str(path), phase), np.random.default_rng(0)
    net.blobs["data"].data[...] = rng.standard_normal(net.blobs["data"].data.shape)
    net.params["conv"][0].data[...] = rng.standard_normal(net.params["conv"][0].data.shape)
    net.forward()
    net.blobs["conv"].diff[...] = rng.standard_normal(net.blobs["conv"].diff.shape)
    net.params["conv"][0].diff[...] = 0
    net.backward()
    return net


def expected(net, shape):
    """Output, input gradient and weight gradient in float64, one kernel offset after the other."""
    pad, kernel, groups = shape["pad"], shape["kernel"], shape["groups"]
    x = np.pad(net.blobs["data"].data.astype(float), [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    w, dy = net.params["conv"][0].data.astype(float), net.blobs["conv"].diff.astype(float)
    height, width = dy.shape[2:]
    y, dx, dw = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(w.shape)
    x_groups, dx_groups = (np.split(array, groups, axis=1) for array in (x, dx))
    for g, (outputs, dy_group) in enumerate(zip(np.split(np.arange(len(w)), groups), np.split(dy, groups, axis=1))):
        for r in range(kernel):
            for c in range(kernel):
                window = x_groups[g][:, :, r:r + height, c:c + width]
                y[:, outputs] += np.einsum("nihw,oi->nohw", window, w[outputs, :, r, c], optimize=True)
                dx_groups[g][:, :, r:r + height, c:c + width] += np.einsum(
                    "nohw,oi->nihw", dy_group, w[outputs, :, r, c], optimize=True)
                dw[outputs, :, r, c] = np.einsum("nohw,nihw->oi", dy_group, window, optimize=True)
    dx = np.concatenate(dx_groups, axis=1)
    return y + 3, dx[:, :, pad:dx.shape[2] - pad or None, pad:dx.shape[3] - pad or None], dw


def computed(net):
    return net.blobs["conv"].data, net.blobs["data"].diff, net.params["conv"][0].diff


def shape_of(inputs, outputs, kernel, height, width, n=2, groups=1, pad=None):
    return {"inputs": inputs, "outputs": outputs, "kernel": kernel, "height": height, "width": width, "n": n, "groups": groups,
            "pad": kernel // 2 if pad is None else pad}


LAYERS = {  # of the deep net, on small images
    "conv1": shape_of(3, 96, 7, 96, 128), "conv9": shape_of(32, 1, 13, 24, 32), "conv2": shape_of(96, 256, 5, 24, 32), "conv3": shape_of(256, 512, 3, 24, 32), "conv4": shape_of(512, 512, 5, 24, 32),
    "conv6": shape_of(512, 256, 7, 24, 32), "conv7": shape_of(256, 128, 11, 24, 32), "conv8": shape_of(128, 32, 11, 24, 32)}
SIZES = {"odd": shape_of(16, 20, 5, 317, 211, n=1), "square": shape_of(33, 17, 7, 96, 96), "long": shape_of(16, 16, 11, 20, 1000, n=1),
         "batch of 5": shape_of(20, 24, 3, 37, 53, n=5), "batch of 3, groups": shape_of(64, 32, 5, 41, 29, n=3, groups=2),
         "batch of 4": shape_of(48, 16, 3, 30, 40, n=4), "kernel larger than the image": shape_of(16, 16, 11, 6, 8, n=3),
         "no padding": shape_of(18, 40, 7, 30, 50, pad=0), "wide padding": shape_of(16, 16, 3, 30, 30, pad=4)}


@pytest.mark.parametrize("shape", [*LAYERS.values(), *SIZES.values()], ids=[*LAYERS, *SIZES])
def test_output_and_gradients_equal_float64(tmp_path, monkeypatch, shape):
    net = convolution(tmp_path, shape)
    monkeypatch.setenv("CAFFE_CONVOLUTION", "rows")
    rows = convolution(tmp_path, shape)
    for fourier, by_rows, exact in zip(computed(net), computed(rows), expected(net, shape)):
        largest = np.abs(exact).max()
        assert np.abs(fourier - exact).max() < 2e-6 * largest
        if shape is not SIZES["kernel larger than the image"]:  # there, rows are faster
            assert not np.array_equal(fourier, by_rows)  # the Fourier domain was used
        np.testing.assert_allclose(by_rows, exact, atol=1e-5 * largest)


def test_gradients_are_added_to_those_before(tmp_path):
    net = convolution(tmp_path, SIZES["square"])
    before = net.params["conv"][0].diff.copy()
    net.backward()
    np.testing.assert_allclose(net.params["conv"][0].diff, 2 * before, rtol=1e-6)


def test_other_weights_give_another_output(tmp_path):
    net = convolution(tmp_path, SIZES["square"])
    before = net.blobs["conv"].data.copy()
    net.params["conv"][0].data[...] *= 2
    net.forward()
    np.testing.assert_allclose(net.blobs["conv"].data - 3, 2 * (before - 3), atol=1e-4)  # 3 is the bias


CHILD = """
import hashlib, os, resource, sys
from pathlib import Path
from tests.deep.test_fourier import LAYERS, SIZES, computed, convolution
if len(sys.argv) > 2:  # limit the address space to megabytes more than Python, Caffe and its matrix library have
    os.environ["CAFFE_CONVOLUTION"] = "rows"
    convolution(Path(sys.argv[1]), SIZES["square"])
    del os.environ["CAFFE_CONVOLUTION"]
    used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (used + (int(sys.argv[2]) << 20), -1))
net = convolution(Path(sys.argv[1]), LAYERS["conv4"])
print(*(hashlib.sha256(array.tobytes()).hexdigest() for array in computed(net)))
"""


def test_the_number_of_threads_does_not_change_a_bit(tmp_path):
    printed = {python("-c", CHILD, tmp_path, CAFFE_NUM_THREADS=str(threads)).stdout for threads in (1, 2, 3, 4)}
    assert len(printed) == 1 and len(printed.pop().split()) == 3


@pytest.mark.parametrize("kernels", ["base", "avx2"])
def test_kernels_of_older_processors(tmp_path, kernels):
    process = python("-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "float64 and not long",
                     CAFFE_FOURIER_KERNELS=kernels)
    assert process.returncode == 0, process.stdout


def test_kept_weights_are_transformed_again_when_they_change(tmp_path, monkeypatch):
    shape = SIZES["batch of 3, groups"]
    usual = convolution(tmp_path, shape, caffe.TEST)
    monkeypatch.setenv("CAFFE_FOURIER_KEEP", "1")
    net = convolution(tmp_path, shape, caffe.TEST)
    np.testing.assert_array_equal(net.blobs["conv"].data, usual.blobs["conv"].data)
    for change in (lambda weights: weights * 2, lambda weights: weights + (np.arange(weights.size) == 5).reshape(weights.shape)):
        for any_net in (usual, net):
            any_net.params["conv"][0].data[...] = change(any_net.params["conv"][0].data)
        net.forward()
        first = net.blobs["conv"].data.copy()
        net.forward()
        monkeypatch.delenv("CAFFE_FOURIER_KEEP")
        usual.forward()
        monkeypatch.setenv("CAFFE_FOURIER_KEEP", "1")
        np.testing.assert_array_equal(first, usual.blobs["conv"].data)
        np.testing.assert_array_equal(net.blobs["conv"].data, first)


def test_without_memory_for_the_workspace_it_goes_by_rows(tmp_path):
    rows = python("-c", CHILD, tmp_path, CAFFE_CONVOLUTION="rows")
    for process in (python("-c", CHILD, tmp_path, CAFFE_FOURIER_MB="20"), python("-c", CHILD, tmp_path, "150")):
        assert process.returncode == 0, process.stderr
        assert process.stdout == rows.stdout != python("-c", CHILD, tmp_path).stdout


def test_a_smaller_workspace_gives_the_same_to_rounding(tmp_path, monkeypatch):
    """Tiles are then transformed in several chunks."""
    shape = shape_of(64, 64, 5, 120, 160)
    whole = convolution(tmp_path, shape)
    monkeypatch.setenv("CAFFE_FOURIER_MB", "12")
    for one_chunk, chunks in zip(computed(whole), computed(convolution(tmp_path, shape))):
        np.testing.assert_allclose(chunks, one_chunk, atol=2e-6 * np.abs(one_chunk).max())


def test_im2col_and_a_wrong_name(tmp_path):
    assert python("-c", CHILD, tmp_path, CAFFE_CONVOLUTION="im2col").returncode == 0
    process = python("-c", CHILD, tmp_path, CAFFE_CONVOLUTION="winograd")
    assert "CAFFE_CONVOLUTION is winograd; give fourier, rows or im2col" in process.stderr
