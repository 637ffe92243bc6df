"""Compare the prototxt files with the paper and with each other, and the forward pass with NumPy and SciPy."""
import numpy as np
import pytest

from deep import preprocess
from deep.backend import load_caffe
from deep.prototxt import DEPLOY, HERE
from tests.deep import reference

caffe = load_caffe()
KERNELS = {"conv1": (96, 3, 7), "conv2": (256, 96, 5), "conv3": (512, 256, 3), "conv4": (512, 512, 5),
           "conv5": (512, 512, 5), "conv6": (256, 512, 7), "conv7": (128, 256, 11), "conv8": (32, 128, 11),
           "conv9": (1, 32, 13)}


def parse(name, message):
    from google.protobuf import text_format

    return text_format.Parse((HERE / name).read_text(), message)


@pytest.fixture(scope="module")
def net():
    return caffe.Net(str(DEPLOY), caffe.TEST)


@pytest.fixture(scope="module")
def train_val():
    return parse("train_val.prototxt", caffe.proto.caffe_pb2.NetParameter())


def test_parameters_and_blobs_are_those_of_the_paper(net):
    assert sum(blob.data.size for blobs in net.params.values() for blob in blobs) == 25_806_209
    assert {name: (*blobs[0].data.shape[:2], blobs[0].data.shape[2]) for name, blobs in net.params.items()
            if name != "deconv1"} == KERNELS
    # Table 1: 98.44 MiB of parameters, 123.65 MiB of data at 320x240
    mib = [4 * sum(sizes) / 2**20 for sizes in ([blob.data.size for blobs in net.params.values() for blob in blobs],
                                                [blob.data.size for blob in net.blobs.values()])]
    assert [round(value, 2) for value in mib] == [98.44, 123.65]
    # the two totals of Table 1, from rounded numbers: 98.44 + 2 x 123.65, and 98.44 + 123.65
    assert [round(98.44 + times * 123.65, 2) for times in (2, 1)] == [345.74, 222.09]
    assert net.blobs["conv9"].data.shape == (1, 1, 60, 80) and net.blobs["deconv1"].data.shape == (1, 1, 240, 320)


def test_train_val_and_deploy_are_the_same_net(train_val):
    deploy = parse("deploy.prototxt", caffe.proto.caffe_pb2.NetParameter())

    def comparable(layers):
        for layer in layers:
            if layer.type in ("Input", "HDF5Data", "EuclideanLoss"):
                continue
            for field in ("weight_filler", "bias_filler"):
                layer.convolution_param.ClearField(field)
            layer.ClearField("param")
            if not layer.convolution_param.ByteSize():
                layer.ClearField("convolution_param")
            yield str(layer)
    trained = caffe.proto.caffe_pb2.NetParameter()
    trained.CopyFrom(train_val)
    assert list(comparable(trained.layer)) == list(comparable(deploy.layer))


def test_the_batch_size_is_two(train_val):
    assert [layer.hdf5_data_param.batch_size for layer in train_val.layer if layer.type == "HDF5Data"] == [2, 2]


def test_fillers_are_those_of_he_et_al(train_val):
    for layer in train_val.layer:
        if layer.type == "Convolution":
            _, channels, kernel = KERNELS[layer.name]
            gain = 1 if layer.name == "conv9" else 2
            filler = layer.convolution_param.weight_filler
            assert filler.type == "gaussian" and filler.std == pytest.approx((gain / (kernel**2 * channels))**0.5, rel=1e-4)
            assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [(1, 1), (2, 0)]
    deconv = next(layer for layer in train_val.layer if layer.name == "deconv1").convolution_param.weight_filler
    assert deconv.mean == 1 / 64 and deconv.std == pytest.approx(1e-6)  # with the default, constant 0, the layer would never learn


def test_solver_has_the_papers_values():
    solver = parse("solver.prototxt", caffe.proto.caffe_pb2.SolverParameter())
    assert solver.base_lr == pytest.approx(0.01 / (320 * 240), rel=1e-6)
    assert solver.max_iter == 24_000 and solver.test_interval == 100 and solver.gamma == 0.5 and solver.stepsize == 2000
    # 0.9 and 5e-7 are from ports; 100 batches of 2 are 200 of the 1,000 validation images
    assert solver.momentum == pytest.approx(0.9) and solver.weight_decay == pytest.approx(5e-7)
    assert list(solver.test_iter) == [100] and solver.type == "SGD" and solver.lr_policy == "step"
    literal = parse("solver_paper_literal.prototxt", caffe.proto.caffe_pb2.SolverParameter())
    assert literal.stepsize == 100
    literal.stepsize, literal.snapshot_prefix = solver.stepsize, solver.snapshot_prefix
    assert literal == solver


@pytest.mark.parametrize("height, width", [(24, 32), (21, 30)])
def test_forward_equals_numpy(net, deep_weights, height, width):
    net.copy_from(str(deep_weights))
    rng = np.random.default_rng(0)
    for blobs in net.params.values():
        if len(blobs) > 1:
            blobs[1].data[...] = rng.normal(0, 0.1, blobs[1].data.shape)
    image = rng.uniform(-1, 1, (3, height, width)).astype(np.float32)
    net.blobs["data"].reshape(1, 3, height, width)
    net.blobs["data"].data[0] = image
    output = net.forward()["deconv1"][0, 0]
    expected, _ = reference.forward({name: [blob.data for blob in blobs] for name, blobs in net.params.items()}, image)
    assert output.shape == expected.shape
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_the_demo_size_has_the_papers_aspect_ratio():
    assert np.divide(*preprocess.DEMO_TRAIN_SIZE) == np.divide(*preprocess.TRAIN_SIZE)
