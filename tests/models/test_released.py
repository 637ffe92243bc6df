"""The authors' pickle is read without executing it and in bounded memory; a forged one is an error."""
import ast
import os
import pickle
import pickletools
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from models.released import pickled
from models.released.pickled import PickledObject, read_pickle, to_array
from models.released.shallow import convert, extract_settings, weight_shapes
from shallow import weights
from shallow.predictor import Predictor
from tests.conftest import command, one_line, python
from tests.fixtures import py2pickle, py3pickle
from tests.fixtures.py2pickle import Call, Name, New

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def random_weights(conv3=64, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"conv1": (32, 3, 5, 5), "conv2": (64, 32, 3, 3), "conv3": (conv3, 64, 3, 3), "fc1": (100 * conv3, 4608),
              "fc2": (2304, 2304)}
    return {name: ((0.02 * rng.standard_normal(shape, np.float32)),
                   rng.standard_normal(shape[-1] if name.startswith("fc") else shape[0], np.float32))
            for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def isun(tmp_path_factory):
    path, arrays = tmp_path_factory.mktemp("pickle") / "JuntingNet_iSUN.pickle", random_weights()
    path.write_bytes(py2pickle.dumps(py2pickle.network(arrays)))
    return path, arrays


def test_the_pickle_becomes_weights_and_its_settings_are_printed(isun, tmp_path, capsys):
    path, arrays = isun
    convert(path, tmp_path / "weights.npz")
    printed = capsys.readouterr().out
    for line in ("max_epochs: 1200", "update_learning_rate: 9.99", '"start": 0.05, "stop": 0.0001', 'layer pool2: {"pool_size": [2, 2]',
                 "history: 5 epochs", '{"epoch": 1, "train_loss": 0.25, "valid_loss": 0.5}', "34,864,384 weights"):
        assert line in printed, printed
    loaded, saved_settings = weights.load(tmp_path / "weights.npz")
    for name, (kernels, biases) in arrays.items():
        np.testing.assert_array_equal(loaded[f"{name}.W"], kernels)
        np.testing.assert_array_equal(loaded[f"{name}.b"], biases)
    assert saved_settings["conv3_filters"] == 64 and saved_settings["pools"] == "2x2" and saved_settings["fit"] == "crop"
    predictor = Predictor(tmp_path / "weights.npz")
    assert predictor.smoothing == "released" and predictor.target_range == (-1, 1)
    assert predictor.predict(np.zeros((60, 80, 3), np.uint8)).shape == (60, 80)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_python_3_read_and_wrote_again_has_the_same_weights(isun, tmp_path, monkeypatch, capsys, protocol):
    """Bytes are then texts or framed, names lie on the stack, and protocol 5 writes an array's values before its shape."""
    network = py3pickle.rebuild(py2pickle.network(isun[1]), monkeypatch)
    (tmp_path / "net.pickle").write_bytes(pickle.dumps(network, protocol))
    convert(tmp_path / "net.pickle", tmp_path / "weights.npz")
    printed = capsys.readouterr().out
    for line in ("max_epochs: 1200", "update_learning_rate: 9.99", '"start": 0.05, "stop": 0.0001', 'layer pool2: {"pool_size": [2, 2]',
                 '{"epoch": 1, "train_loss": 0.25, "valid_loss": 0.5}', "34,864,384 weights"):
        assert line in printed, printed
    loaded, _ = weights.load(tmp_path / "weights.npz")
    for name, (kernels, biases) in isun[1].items():
        np.testing.assert_array_equal(loaded[f"{name}.W"], kernels)
        np.testing.assert_array_equal(loaded[f"{name}.b"], biases)


@pytest.mark.parametrize("protocol", range(6))
def test_long_values_that_are_not_needed_stay_in_the_file(tmp_path, monkeypatch, protocol):
    array = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8)
    (tmp_path / "a").write_bytes(pickle.dumps({"array": array, "bytes": array.tobytes()}, protocol))
    monkeypatch.setattr(pickled, "MEMORY_LIMIT", 10_000)
    value = read_pickle(tmp_path / "a", keep=lambda shape: False)
    assert isinstance(value["bytes"], pickled.Skipped)
    with pytest.raises(ValueError, match=r"of shape \(3000000,\) was skipped"):
        to_array(value["array"])
    with pytest.raises(UserError, match="holds more than 0 MB besides training data"):
        read_pickle(tmp_path / "a")


@pytest.mark.parametrize("name", ["net.pickle", "weights"])
def test_a_pickle_given_as_weights_is_answered_with_the_command_that_converts_it(isun, tmp_path, name):
    (tmp_path / name).write_bytes(isun[0].read_bytes()[:10_000])
    with pytest.raises(UserError, match="python -m models.fetch juntingnet-salicon --file") as error:
        Predictor(tmp_path / name)
    assert f"--file {tmp_path / name} (or juntingnet-isun)" in str(error.value) and "\n" not in str(error.value)


def test_pools_of_figure_2_are_recognised(isun, tmp_path):
    path = tmp_path / "net.pickle"
    path.write_bytes(py2pickle.dumps(py2pickle.network(isun[1], images=1, pool=3)))
    convert(path, tmp_path / "weights.npz")
    assert weights.load(tmp_path / "weights.npz")[1]["pools"] == "3x3"


@pytest.mark.slow
def test_training_data_are_skipped_in_bounded_memory(isun, tmp_path):
    """A gigabyte of training data takes no memory: the peak is about twice the weights, since writing copies them."""
    path = tmp_path / "large.pickle"
    small = py2pickle.dumps(py2pickle.network(isun[1], images=0))
    size = 2**30 // (3 * 96 * 96 * 4) * 3 * 96 * 96 * 4
    images = py2pickle._dump_array(np.zeros((0, 3, 96, 96), np.float32))
    whole = images.replace(b"(" + b"K\x00K\x03K`K`t", b"(J" + (size // (3 * 96 * 96 * 4)).to_bytes(4, "little") + b"K\x03K`K`t")
    head, tail = whole.rsplit(b"U\x00", 1)
    before, after = small.split(images, 1)
    with open(path, "wb") as file:
        file.write(before + head + b"T" + size.to_bytes(4, "little"))
        file.seek(size, 1)  # a hole
        file.write(tail + after)
    code = ("import sys\nfrom models.released.shallow import convert\nconvert(sys.argv[1], sys.argv[2])\n"
            "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])")
    process = python("-c", code, path, tmp_path / "w.npz")
    assert process.returncode == 0, process.stderr
    peak, size = 1024 * int(process.stdout.split()[-1]), 4 * 34_864_384
    assert peak < 2 * size + 200e6 < 2**30, peak


plain = st.recursive(st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats(allow_nan=False) | st.text(max_size=30)
                     | st.binary(max_size=600),
                     lambda inner: st.lists(inner, max_size=5) | st.tuples(inner) | st.tuples(inner, inner, inner)
                     | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=5), max_leaves=20)


@given(plain)
@settings(max_examples=200)
def test_plain_values_read_as_python_reads_them(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "plain.pickle"
    for protocol in PROTOCOLS:
        path.write_bytes(pickle.dumps(value, protocol))
        assert read_pickle(path) == value


ARRAYS = [np.arange(6.0).reshape(2, 3), np.array(3, np.float32), np.zeros((0, 4), np.int64), np.arange(5, dtype=">i4").astype("<i4"),
          np.arange(-3000, 3000).astype(np.int16)]


@pytest.mark.parametrize("array", [*ARRAYS, np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(8.0)[::2]])
def test_arrays_of_python_3_keep_their_values(tmp_path, array):
    for protocol in PROTOCOLS:
        (tmp_path / "a").write_bytes(pickle.dumps([array, array[()], {"again": array}], protocol))
        value, item, pairs = read_pickle(tmp_path / "a")
        for copy in (value, pairs["again"], *([] if array.ndim == 0 else [item])):
            np.testing.assert_array_equal(to_array(copy), array)
        if array.ndim == 0:
            assert pickled.to_scalar(*item.args) == array


@pytest.mark.parametrize("array", ARRAYS)
def test_arrays_of_python_2_keep_their_values(tmp_path, array):
    (tmp_path / "a").write_bytes(py2pickle.dumps([array, py2pickle.on_card(array)]))
    for value in read_pickle(tmp_path / "a"):
        np.testing.assert_array_equal(to_array(value), array)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch bombed",)


MALICIOUS = {
    "os.system": lambda: pickle.dumps(Bomb(), 2),
    "builtins.eval": lambda: py2pickle.dumps(Call("__builtin__.eval", ("open('bombed', 'w')",))),
    "nested in a network": lambda: py2pickle.dumps(New("nolearn.lasagne.base.NeuralNet", (), {
        "layers_": [Call("subprocess.call", (["touch", "bombed"],))]})),
    "reduce of a reduce": lambda: py2pickle.dumps(Call("numpy.core.multiarray._reconstruct", (Call("posix.system", ("touch bombed",)),))),
    "getattr": lambda: py2pickle.dumps(Call("__builtin__.getattr", (Name("numpy.ndarray"), "tofile"))),
    "old instance": lambda: b"(S'touch bombed'\nios\nsystem\n.",
    **{f"protocol {protocol}": lambda protocol=protocol: pickle.dumps(Bomb(), protocol) for protocol in range(6)},
    "a name on the stack": lambda: b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch bombed\x85R.",
    "a method of an allowed class": lambda: b"\x80\x04\x8c\x08builtins\x8c\x0cobject.xyz()\x93.",
    "another codec": lambda: b"\x80\x04\x8c\x07_codecs\x8c\x06decode\x93.",
    "an object with arguments by name": lambda: b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93)}\x92.",
}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_forged_files_are_errors_and_nothing_is_executed(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pickle").write_bytes(MALICIOUS[kind]())
    with pytest.raises(UserError, match="nothing in it was executed") as error:
        convert(tmp_path / "net.pickle", tmp_path / "weights.npz")
    assert "net.pickle" in str(error.value) and not (tmp_path / "bombed").exists()
    assert not (tmp_path / "weights.npz").exists()


def huge_array():
    """Return a call that would allocate 8 TB if it were executed."""
    return Call("numpy.core.multiarray._reconstruct", (Name("numpy.ndarray"), (10**9 // 1000, 10**6), "b"))


BOMBS = {
    "a huge shape": lambda: py2pickle.dumps(huge_array()),
    "a string of 2 GB in a small file": lambda: b"\x80\x02T\xff\xff\xff\x7fabc.",
    "a text of 2^63 bytes": lambda: b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "bytes of 2^63 bytes": lambda: b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "a bytearray of 2^63 bytes": lambda: b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "a frame of 2^63 bytes": lambda: b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
    "a buffer outside the file": lambda: b"\x80\x05\x97.",
    "a name that is a number": lambda: b"\x80\x04K\x01K\x02\x93.",
    "names without arguments": lambda: b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93NN\x92.",
    "a text without end": lambda: b"Vabc", "a text with a wrong escape": lambda: b"V\\u12\n.",
    "encodes a number": lambda: b"\x80\x02c_codecs\nencode\nK\x01X\x06\x00\x00\x00latin1\x86R.",
    "encodes for another codec": lambda: b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
    "encodes letters that are not bytes": lambda: b"\x80\x02c_codecs\nencode\nX\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1\x86R.",
    "a text encoded a million times": lambda: b"\x80\x02c_codecs\nencode\nq\x00X\x00\x00\x0f\x00" + b"a" * 0xf0000
        + b"X\x06\x00\x00\x00latin1\x86q\x01" + b"h\x00h\x01R" * 1_000_000 + b".",
    "a set in itself": lambda: b"\x80\x04\x8f\x94(h\x00\x90.",
    "a text of 2 GB": lambda: b"\x80\x02X\xff\xff\xff\x7fabc.",
    "a number of 2 GB": lambda: b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
    "a negative length": lambda: b"\x80\x02T\xff\xff\xff\xffabc.",
    "doubling lists": lambda: b"\x80\x02]q\x00" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
                                                           for i in range(200)) + b".",
    "tuples a million deep": lambda: b"\x80\x02)" + b"\x85" * 1_000_000 + b".",
    "a deep key of a dict": lambda: b"\x80\x02})" + b"\x85" * 500_000 + b"Ns.",
    "too many objects": lambda: b"\x80\x02" + b"}" * (pickled.INSTRUCTION_LIMIT + 10) + b".",
    "an object of a hundred arguments": lambda: b"\x80\x02ccopy_reg\n_reconstructor\n(c__builtin__\nobject\n" + b"N" * 100 + b"tR.",
    "a shape of a million axes checked a thousand times": lambda: b"\x80\x02(" + b"K\x01" * 1_000_000 + b"tq\x00"
        b"NN\x89" + b"U\x01a0" * 1000 + b".",
    "a name that doubles forty times": lambda: py2pickle.dumps(New("nolearn.NeuralNet", (), {"layers_": {}}))[:-2]
        + b"K\x01" + b"2\x86" * 40 + b"b.",
    "a call on an empty stack": lambda: b"\x80\x02R.", "a tuple from an empty stack": lambda: b"\x80\x02\x87.",
    "an unknown memo entry": lambda: b"\x80\x02h\x07.", "a name without end": lambda: b"\x80\x02c" + b"x" * 5000,
    "arguments that are a number": lambda: b"\x80\x02ccopy_reg\n_reconstructor\nK\x01R.",
    "calls a number": lambda: b"\x80\x02K\x01)R.", "empty": lambda: b"", "text": lambda: b"<html>not found</html>",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_and_damage_give_one_line(tmp_path, kind):
    (tmp_path / "net.pickle").write_bytes(BOMBS[kind]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="net.pickle") as error:
        convert(tmp_path / "net.pickle", tmp_path / "weights.npz")
    assert "\n" not in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # a gigabyte


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.9999])
def test_a_file_that_is_cut_off_is_named(isun, tmp_path, fraction):
    whole = isun[0].read_bytes()
    (tmp_path / "net.pickle").write_bytes(whole[:int(fraction * len(whole))])
    with pytest.raises(UserError, match="net.pickle: cut off at byte"):
        convert(tmp_path / "net.pickle", tmp_path / "weights.npz")


def test_another_net_is_named(isun, tmp_path):
    arrays = {**isun[1], "fc2": (np.zeros((2304, 2000), np.float32), np.zeros(2000, np.float32))}
    (tmp_path / "net.pickle").write_bytes(py2pickle.dumps(py2pickle.network(arrays, images=0)))
    line = one_line(command("models.released.shallow", tmp_path / "net.pickle", "--out", tmp_path / "w.npz"))
    assert "layer 'output'" in line and "(2304, 2000)" in line and "is it shallow_net.pickle" in line
    (tmp_path / "net.pickle").write_bytes(py2pickle.dumps({"weights": [1, 2, 3]}))
    assert "no trained network of nolearn" in one_line(command("models.released.shallow", tmp_path / "net.pickle", "--out", tmp_path / "w.npz"))


def test_odd_values_instead_of_weights_give_no_traceback(tmp_path):
    """A list as a key, numbers of one byte, a shared variable that holds itself."""
    odd = Call("collections.OrderedDict", ([[[1], 2], ["good", 3]],))
    one_byte = py2pickle.dumps(np.arange(4, dtype=np.float32)).replace(b"U\x02f4", b"U\x02f1")
    (tmp_path / "a").write_bytes(py2pickle.dumps(odd))
    assert dict(pickled.dict_items(read_pickle(tmp_path / "a"))) == {"good": 3}
    (tmp_path / "a").write_bytes(one_byte)
    with pytest.raises(ValueError, match="of a type that weights do not have"):
        to_array(read_pickle(tmp_path / "a"))
    variable, container = PickledObject("theano.S"), PickledObject("theano.C")
    variable.state, container.state = {"container": container}, {"storage": [variable]}
    net = PickledObject("nolearn.lasagne.base.NeuralNet")
    net.state = {"update_learning_rate": variable, "max_epochs": 7, "train_history_": [odd]}
    assert extract_settings(net, [])["settings"] == {"max_epochs": 7}


def test_shapes_are_those_of_the_net(shallow_weights):
    arrays, _ = weights.load(shallow_weights)
    assert {name: arrays[f"{name}.W"].shape for name in weight_shapes(128)} == weight_shapes(128)


def test_the_memory_of_strings_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(pickled, "MEMORY_LIMIT", 3_000_000)
    (tmp_path / "a").write_bytes(b"\x80\x02" + (b"T\x00\x00\x0f\x00" + bytes(0xf0000) + b"0") * 4 + b"N.")
    with pytest.raises(UserError, match="holds more than 2 MB besides training data"):
        read_pickle(tmp_path / "a")


def test_an_allowed_name_is_still_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(pickle.dumps(Bomb(), 2))
    value = read_pickle(tmp_path / "a", allow={"posix.system"})
    assert isinstance(value, PickledObject) and value.name == "posix.system" and not (tmp_path / "bombed").exists()


def test_the_reader_uses_only_the_names_of_instructions_from_pickle():
    """It calls nothing of the pickle module, and lacks the instructions that refer to objects outside the file."""
    uses = [node.attr for node in ast.walk(ast.parse(Path(pickled.__file__).read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle"]
    assert uses and all(isinstance(getattr(pickle, name), bytes) for name in uses)
    names = {code.code.encode("latin-1"): code.name for code in pickletools.opcodes}
    assert {names[code] for code in names.keys() - pickled._INSTRUCTIONS.keys()} == {
        "STOP", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}
    assert pickled._INSTRUCTIONS.keys() < names.keys()
