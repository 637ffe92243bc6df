"""The list of a net's layers has Caffe's sizes, and names the mistakes at which Caffe stops, by line."""
import json
import math
import multiprocessing
import os
import signal

import pytest

from common.errors import UserError
from deep import layers
from deep.backend import load_caffe
from deep.layers import has_phases, list_layers
from deep.prototxt import DEPLOY, SOLVER, TRAIN_VAL, read_fields
from tests.conftest import command, one_line, python
from tests.fixtures.vgg import vgg_cnn_m

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 8 dim: 8 } } }\n'
CONV = 'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }\n'
# a line to add below the input; the line of the fault, if it is not 2; what the fault must contain
FAULTS = [
    (CONV.replace("Convolution", "Convolutoin"), 2, "unknown layer type 'Convolutoin'; did you mean 'Convolution'?"),
    (CONV.replace("num_output", "num_outputs"), 2, "ConvolutionParameter has no field 'num_outputs'; did you mean num_output?"),
    (CONV.replace("layer {", "layer {\n  nmae: 3"), 3, "LayerParameter has no field 'nmae'; did you mean name?"),
    (CONV.replace("num_output: 4", "num_output: four"), 2, "Couldn't parse integer: four; correct it there"),
    (CONV.replace("num_output: 4", "\n num_output: 4\n num_output: 5"), 4, 'should not have multiple "num_output"'),
    (CONV + "layer {", 3, 'Expected "}"'),
    (CONV.replace('bottom: "data"', 'bottom: "dta"'), 2, "bottom 'dta' of layer 'conv' is the top of no layer above; did you mean 'data'?"),
    (CONV + CONV.replace('"conv"', '"other"').replace('top: "other"', '\ntop: "conv"'), 4, "top 'conv' of layer 'other' is already that of line 2"),
    (CONV.replace("num_output: 4 ", ""), 2, "has no num_output; add convolution_param"),
    (CONV.replace("kernel_size: 3", "\nkernel_size: 12"), 3, "the kernel of Convolution layer 'conv', 12 x 12, is larger than its input data (2 x 4 x 8 x 8)"),
    (CONV.replace("kernel_size: 3", ""), 2, "has no kernel_size; add convolution_param { kernel_size: 3 }"),
    (CONV.replace("kernel_size: 3", "kernel_size: 3 group: 3"), 2, "channels_ % group_ == 0"),
    (CONV.replace("kernel_size: 3", "kernel_size: 3 stride: 0"), 2, "Stride dimensions must be nonzero"),
    (CONV.replace("kernel_size: 3", 'kernel_size: 3 weight_filler { type: "gausian" }'), 2, "Unknown filler name: gausian"),
    (CONV.replace("num_output: 4", "num_output: 2000000000"), 2, "INT_MAX"),
    (CONV + 'layer { name: "loss" type: "EuclideanLoss" bottom: "conv" bottom: "data" top: "loss" }', 3,
     "EuclideanLoss layer 'loss' of conv (2 x 4 x 6 x 6), data (2 x 4 x 8 x 8): Caffe stops with"),
    ('layer { name: "loss" type: "EuclideanLoss" bottom: "data" top: "loss" }', 2, "takes 2 bottom blob"),
    ('layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" }', 2, "has no kernel_size; add pooling_param"),
    ('layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { kernel_size: 40 } }', 2, "is larger than its input"),
    ('layer { name: "norm" type: "LRN" bottom: "data" top: "norm" lrn_param { local_size: 4 } }', 2, "only supports odd values"),
    ('layer { name: "crop" type: "Crop" bottom: "data" top: "crop" }', 2, "takes 2 bottom blob"),
    (CONV.replace("bottom", 'param { name: "w" } bottom') + CONV.replace("bottom", 'param { name: "w" } bottom').replace(
        '"conv"', '"b"').replace("kernel_size: 3", "kernel_size: 5"), 1, "every layer is correct, but not the net"),
    (CONV.replace("bottom", 'include { phase: TRAIN } exclude { phase: TEST } bottom'), 2, "both include and exclude"),
    ("layers { }", 2, "old format, with 'layers'"),
]
NO_ABORT = {"old format"}  # Caffe converts it


def write(path, text):
    path.write_text(text)
    return path


def test_the_deploy_net_has_the_sizes_of_caffe():
    layers, faults = list_layers(DEPLOY)
    net = load_caffe().Net(str(DEPLOY), load_caffe().TEST)
    assert faults == [] and not has_phases(DEPLOY)
    assert {name: tuple(shape) for layer in layers for name, shape in layer.blobs.items()} == {
        name: blob.data.shape for name, blob in net.blobs.items()}
    assert {layer.name: [tuple(shape) for shape in layer.weights] for layer in layers if layer.weights} == {
        name: [blob.data.shape for blob in blobs] for name, blobs in net.params.items()}
    conv4 = next(layer for layer in layers if layer.name == "conv4")
    assert (conv4.kernel, conv4.stride, conv4.pad) == ([5, 5], [1, 1], [2, 2])
    assert conv4.multiply_adds == (60 * 80 * 512) * (5 * 5 * 512)
    assert layers[-1].multiply_adds == (60 * 80) * (8 * 8), "each input of the deconvolution has 64 products"


def test_the_training_net_is_listed_by_phase_with_the_sizes_of_its_data(tmp_path):
    layers, faults = list_layers(TRAIN_VAL)
    assert faults == [] and has_phases(TRAIN_VAL) and len([layer for layer in layers if layer.type == "HDF5Data"]) == 1
    assert layers[0].blobs == {"data": [2, 3, 240, 320], "label": [2, 1, 240, 320]} and layers[-1].blobs == {"loss": []}
    layers, _ = list_layers(TRAIN_VAL, shapes={"data": [1, 3, 24, 32], "label": [1, 1, 24, 32]})
    assert layers[1].blobs == {"conv1": [1, 96, 24, 32]}
    _, faults = list_layers(TRAIN_VAL, shapes={"data": [1, 3, 21, 32], "label": [1, 1, 21, 32]})
    assert [fault.line for fault in faults] == [len(TRAIN_VAL.read_text().splitlines())], "24 rows less than 1 too many"
    import h5py
    import numpy as np
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["data"], file["label"] = np.zeros((5, 3, 16, 24), np.float32), np.zeros((5, 1, 16, 24), np.float32)
    write(tmp_path / "list.txt", f"{tmp_path}/data.h5\n")
    mine = write(tmp_path / "net.prototxt", TRAIN_VAL.read_text().replace("build/data/salicon-paper-deep/train.txt", f"{tmp_path}/list.txt"))
    layers, faults = list_layers(mine)
    assert faults == [] and layers[0].blobs["data"] == [2, 3, 16, 24], "those of the file"
    database = INPUT.replace('"Input"', '"Data"').replace("input_param { shape { dim: 2 dim: 4 dim: 8 dim: 8 } }", "")
    _, (fault,) = list_layers(write(mine, database))
    assert fault.line == 1 and "give it: --shape data=2x3x240x320" in fault.text


def test_another_net_in_the_older_form_of_inputs_is_listed(tmp_path):
    layers, faults = list_layers(write(tmp_path / "vgg.prototxt", vgg_cnn_m((64, 64, 10))))
    assert faults == [] and [layer.name for layer in layers if layer.weights][-1] == "fc8"
    older = 'name: "older"\ninput: "data"\ninput_dim: 1 input_dim: 4\ninput_dim: 8 input_dim: 8\n' + CONV
    layers, faults = list_layers(write(tmp_path / "older.prototxt", older))
    assert faults == [] and layers[1].blobs == {"conv": [1, 4, 6, 6]}
    _, (fault,) = list_layers(write(tmp_path / "older.prototxt", older.replace("input_dim: 8 input_dim: 8", "input_dim: 8")))
    assert fault.line == 3 and "input_dim is given 3 times for 1 inputs; give it 4 times for each" in fault.text
    listed = INPUT + "layer: [" + CONV.strip()[6:] + "," + CONV.strip()[6:].replace('"conv"', '"b"').replace("kernel_size: 3", "kernel_size: 9") + "]"
    layers, (fault,) = list_layers(write(tmp_path / "list.prototxt", listed))
    assert [layer.name for layer in layers] == ["data", "conv"] and fault.line == 2 and "Convolution layer 'b'" in fault.text
    dense = INPUT + 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 10 TRANSPOSE } }'
    for transpose in ("", "transpose: true"):
        layers, faults = list_layers(write(tmp_path / "dense.prototxt", dense.replace("TRANSPOSE", transpose)))
        assert faults == [] and layers[1].multiply_adds == 2 * 256 * 10 and sum(map(math.prod, layers[1].weights)) == 2570


@pytest.mark.parametrize("text, line, fault", FAULTS, ids=[fault[:30] for _, _, fault in FAULTS])
def test_a_mistake_is_named_with_its_line(tmp_path, text, line, fault):
    _, faults = list_layers(write(tmp_path / "net.prototxt", INPUT + text))
    assert len(faults) == 1 and faults[0].line == line and fault in faults[0].text, faults
    assert "\n" not in faults[0].text and "; " in faults[0].text


def test_caffe_stops_at_each_of_these_mistakes(tmp_path):
    """Build each net with Caffe itself, in a fork: a CHECK that fails ends the process with a signal."""
    for number, (text, _, _) in enumerate(FAULTS):
        write(tmp_path / f"{number}.prototxt", INPUT + text)
    write(tmp_path / "correct.prototxt", INPUT + CONV)
    code = """
import json, os, sys
import caffe
def stops(path):
    child = os.fork()
    if not child:
        os.close(2)
        caffe.Net(path, caffe.TRAIN)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0
print(json.dumps([stops(path) for path in sys.argv[1:]]))
"""
    paths = [tmp_path / f"{number}.prototxt" for number in range(len(FAULTS))] + [tmp_path / "correct.prototxt"]
    *stops, correct = json.loads(python("-c", code, *paths).stdout)
    assert not correct
    assert [fault for (_, _, fault), stopped in zip(FAULTS, stops) if not stopped and not any(
        text in fault for text in NO_ABORT)] == []


def test_all_mistakes_are_listed_and_the_next_layers_still_checked(tmp_path):
    text = INPUT + CONV.replace("num_output: 4 ", "") + 'layer { name: "a" type: "ReLU" bottom: "conv" top: "a" }\n' \
        + CONV.replace('"conv"', '"b"').replace("kernel_size: 3", "kernel_size: 9") + CONV.replace('top: "conv"', 'top: "c"')
    layers, faults = list_layers(write(tmp_path / "net.prototxt", text))
    assert [fault.line for fault in faults] == [2, 4, 5] and [layer.name for layer in layers] == ["data"]
    assert "layer name 'conv' is that of line 2 too" in faults[2].text


def test_lines_are_found_in_any_way_of_writing():
    root = read_fields('a: 1 # b: 2\nlayer <\n  name: "x { y: 1"\n  shape: { dim: [3,\n 4] dim: 5 }\n>\nlayer {\n\'\' z: .5 }')
    assert [(entry.name, entry.line) for entry in root.children] == [("a", 1), ("layer", 2), ("layer", 7)]
    assert root.line_of("layer", "shape", ("dim", 1)) == 5 and root.line_of(("layer", 1), "z") == 8
    assert root.line_of("layer", "gone") == 2 and root.line_of("gone") == 1


def test_the_command_prints_the_layers_and_totals(tmp_path):
    process = command("deep.summary", DEPLOY)
    assert process.returncode == 0 and process.stderr == ""
    assert process.stdout.splitlines()[-1].split() == ["total", "25,806,209", "133,722,163,200", "123.65"], "Table 1"
    assert "relu1" in process.stdout and "as input" in process.stdout
    bad = write(tmp_path / "net.prototxt", INPUT + CONV.replace("kernel_size: 3", "kernel_size: 9"))
    process = command("deep.summary", bad)
    assert process.returncode == 1 and process.stderr.startswith(f"{bad}:2: the kernel of Convolution layer 'conv'")
    assert process.stdout.startswith(f"{bad}\nlayer ")
    for_test = write(tmp_path / "phases.prototxt", TRAIN_VAL.read_text().replace("label\" top: \"loss\"", "lable\" top: \"loss\""))
    assert command("deep.summary", for_test).stderr.count("\n") == 1, "a mistake in both phases is printed once"


def test_files_that_are_no_nets_give_one_line(tmp_path):
    assert "gone.prototxt: No such file" in one_line(command("deep.summary", tmp_path / "gone.prototxt"))
    (tmp_path / "a.caffemodel").write_bytes(b"\xff\xfe\x00" * 9)
    assert "a.caffemodel: not a text file" in one_line(command("deep.summary", tmp_path / "a.caffemodel"))
    with pytest.raises(UserError, match="No such file"):
        list_layers(tmp_path / "gone.prototxt")
    assert "'data=0x3' is not NAME=2x3x240x320" in one_line(command("deep.summary", DEPLOY, "--shape", "data=0x3"))
    _, (fault,) = list_layers(SOLVER)
    assert "a setting of a solver; give the prototxt of the net" in fault.text and fault.line == 4
    process = command("deep.summary", write(tmp_path / "empty.prototxt", ""))
    assert "empty.prototxt:1: has no layer" in process.stderr and process.returncode == 1


def kill_itself(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_check_names_the_net(monkeypatch):
    """As the system does when memory runs out."""
    monkeypatch.setattr(layers, "_check_net", kill_itself)
    with pytest.raises(UserError, match=r"deploy\.prototxt: the check of the net was killed, .* close other programs"):
        list_layers(DEPLOY)


def test_a_kill_during_the_check_of_one_layer_ends_the_whole_check(tmp_path, monkeypatch):
    """It is no mistake in the file."""
    monkeypatch.setattr(layers, "_write_sizes", kill_itself)
    out, log = tmp_path / "layers.json", tmp_path / "caffe.log"
    log.touch()
    check = multiprocessing.get_context("fork").Process(target=layers._check_net, args=(INPUT, "TRAIN", {}, str(out), str(log)))
    check.start()
    check.join()
    assert check.exitcode == -signal.SIGKILL and not out.exists()
