"""List the layers of any prototxt with their sizes, and the mistakes at which Caffe would stop, by line.

Syntax, names and connections are checked here. Sizes and all other checks are Caffe's own: every layer is built alone,
in a process of its own, so that a mistake ends that process and the next layer is still checked.
"""
import difflib
import math
import multiprocessing
import os
import signal
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from common.files import read_json, write_json
from common.layers import Layer, by_x
from common.limits import limit, limit_memory
from deep.backend import fatal_message, load_caffe, run_in_subprocess
from deep.prototxt import check_fields, messages, parse_prototxt, read_fields
from deep.training_net import INPUT, PHASES, TARGET, in_phase

PARAMETERS = {"Convolution": "convolution_param", "Deconvolution": "convolution_param", "Pooling": "pooling_param"}
DENSE = {**{name: PARAMETERS[name] for name in ("Convolution", "Deconvolution")}, "InnerProduct": "inner_product_param"}
# layers without input whose sizes are in the prototxt; others read a file, which need not exist yet
SIZED = ("Input", "DummyData", "Parameter", "MemoryData")
SOLVER_FIELDS = ("net", "base_lr", "lr_policy", "max_iter")
PREPARED = {INPUT: 3, TARGET: 1}  # channels of the blobs that deep.prepare writes


@dataclass(order=True, frozen=True)
class Fault:
    """A mistake in a prototxt: the line, and the text "fault; remedy"."""

    line: int
    text: str


def list_layers(path, phase="TRAIN", shapes=None):
    """List the layers of a prototxt and its mistakes.

    Parameters
    ----------
    path : path of a prototxt with a net
    phase : "TRAIN" or "TEST"
        Layers of the other phase are passed over.
    shapes : dict of str: sequence of int, or None
        Shapes of outputs of layers that read files, by name of the blob. Without one, the shapes are those of the file
        if it exists, otherwise those that deep.prepare writes.

    Returns
    -------
    (list of Layer, list of Fault)
        With a mistake, the list of layers may be incomplete. Faults are in the order of their lines.

    Raises
    ------
    UserError
        The file is missing or is no text.
    SystemExit
        The subprocess has printed its error: Caffe is not built, or a signal arrived.
    """
    text, faults = check_fields(path, messages().NetParameter())
    solver = [entry.line for entry in read_fields(text).children if entry.name in SOLVER_FIELDS]
    if solver:
        return [], [Fault(solver[0], "a setting of a solver; give the prototxt of the net, not that of the solver")]
    if faults:
        return [], [Fault(*fault) for fault in faults]
    message = parse_prototxt(path, messages().NetParameter())
    if message.layers:
        line = next(entry.line for entry in read_fields(text).children if entry.name == "layers")
        return [], [Fault(line, "the old format, with 'layers'; write each as 'layer', and types as in type: "
                                "\"Convolution\"")]
    if not message.layer:
        return [], [Fault(1, "has no layer; give a file with a net, such as deep/deploy.prototxt")]
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "layers.json", Path(folder) / "caffe.log"
        code = run_in_subprocess(_check_net, (text, phase, shapes or {}, str(out), str(log)), log, killed=(
            f"{path}: the check of the net was killed, probably for lack of memory; close other programs, or make the "
            "batches and the layers smaller"))
        if code:
            sys.exit(code)  # the process has printed its error
        result = read_json(out)
    return ([Layer(**layer) for layer in result["layers"]],
            sorted({Fault(*fault) for fault in result["faults"]}))


def has_phases(path):
    """Return True if a net, the path of a valid prototxt, has layers for one phase only."""
    layers = parse_prototxt(path, messages().NetParameter()).layer
    return any(in_phase(layer, PHASES[0]) != in_phase(layer, PHASES[1]) for layer in layers)


def _check_net(text, phase, shapes, out, log):
    """Check the layers of a net whose syntax is correct, and write the result as JSON; runs in a subprocess."""
    from google.protobuf import text_format

    net = text_format.Parse(text, messages().NetParameter())
    root = read_fields(text)
    entries = [entry for entry in root.children if entry.name == "layer"]
    entries += entries[-1:] * (len(net.layer) - len(entries))  # of a list, layer: [{...}, {...}], which is one entry
    layers = [(layer, entry) for layer, entry in zip(net.layer, entries) if in_phase(layer, phase)]
    builder = _Builder(phase, shapes, log)
    if len(net.input_shape) or len(net.input_dim):
        layers.insert(0, _legacy_input(net, root))
        if not net.input_shape and len(net.input_dim) != 4 * len(net.input):
            builder.faults.append((root.line_of("input_dim"), f"input_dim is given {len(net.input_dim)} times for "
                                                              f"{len(net.input)} inputs; give it 4 times for each"))
    for layer, entry in layers:
        builder.add(layer, entry)
    if not builder.faults and not builder.unsized:
        builder.build_net([layer for layer, _ in layers])
    write_json(out, {"layers": [asdict(layer) for layer in builder.layers], "faults": builder.faults})


def _legacy_input(net, root):
    """Convert the fields "input" and "input_dim" or "input_shape" of a net to an Input layer, as Caffe does."""
    layer = messages().LayerParameter(name="input", type="Input", top=net.input)
    for index, _ in enumerate(net.input):
        dims = net.input_shape[index].dim if index < len(net.input_shape) else net.input_dim[4 * index:4 * index + 4]
        layer.input_param.shape.add(dim=dims)
    return layer, next((entry for entry in root.children if entry.name == "input"), root)


class _Builder:
    """Build layers one after the other; collect sizes and mistakes.

    Attributes
    ----------
    layers : list of Layer
    faults : list of (int, str)
        Lines and texts.
    unsized : bool
        True if a shape is unknown because of a mistake before.
    """

    def __init__(self, phase, shapes, log):
        self.phase, self.given, self.log = phase, shapes, Path(log)
        self.caffe = load_caffe()
        self.types = list(self.caffe.layer_type_list())
        self.layers, self.faults = [], []
        self.blobs, self.lines, self.names = {}, {}, {}  # shapes (None: unknown) and lines of blobs, lines of layers
        self.inputs = {}  # shapes of layers that read files, by the layer's name
        self.unsized = False

    def add(self, layer, entry):
        """Check a layer, a LayerParameter, with its entry of `read_fields`, and build it."""
        before = len(self.faults)
        self._check_names(layer, entry)
        in_place = [top for index, top in enumerate(layer.top) if top in layer.bottom[index:index + 1]]
        if len(self.faults) == before and all(self.blobs[name] is not None for name in layer.bottom):
            self._measure(layer, entry, in_place)
        for top in layer.top:
            self.unsized |= self.blobs.setdefault(top, None) is None
            self.lines.setdefault(top, entry.line)

    def _fault(self, entry, text, *names):
        """Record a mistake at the line of a field of a layer, or at the layer's."""
        self.faults.append((entry.line_of(*names), text))

    def _check_names(self, layer, entry):
        """Check the layer's type and name, and the names of its inputs and outputs."""
        if layer.type not in self.types:
            remedy = _nearest(layer.type, self.types) or f"one of {', '.join(self.types)}"
            fault = f"unknown layer type {layer.type!r}" if layer.type else f"layer {layer.name!r} has no type"
            self._fault(entry, f"{fault}; {remedy}", "type")
        if layer.name in self.names:
            self._fault(entry, f"layer name {layer.name!r} is that of line {self.names[layer.name]} too, and weights "
                               "are stored by name; choose another name", "name")
        self.names.setdefault(layer.name, entry.line)
        if layer.include and layer.exclude:
            self._fault(entry, f"layer {layer.name!r} has both include and exclude; give one of them", "exclude")
        for index, bottom in enumerate(layer.bottom):
            if bottom not in self.blobs:
                remedy = _nearest(bottom, self.blobs) or "name the top of a layer above this line"
                self._fault(entry, f"bottom {bottom!r} of layer {layer.name!r} is the top of no layer above; {remedy}",
                            ("bottom", index))
        for index, top in enumerate(layer.top):
            if top in layer.top[:index] or top in self.blobs and top not in layer.bottom[index:index + 1]:
                self._fault(entry, f"top {top!r} of layer {layer.name!r} is already that of line "
                                   f"{self.lines.get(top, entry.line)}; choose another name, or give the same name as "
                                   "bottom to work in place", ("top", index))

    def _measure(self, layer, entry, in_place):
        """Build the layer alone, and record its sizes; or its mistake."""
        inputs = {name: self.blobs[name] for name in layer.bottom}
        if fault := _missing_field(layer) or _kernel_too_large(layer, inputs):
            self._fault(entry, fault[0], *fault[1:])
            return
        single = messages().NetParameter(layer=[_input(name, shape) for name, shape in inputs.items()])
        if not layer.bottom and layer.type not in SIZED and not self._readable(layer):
            shapes = self._shapes_of_file(layer, entry)
            if shapes is None:
                return
            self.inputs[layer.name] = shapes
            single.layer.extend(_input(*pair) for pair in shapes.items())
        else:
            single.layer.append(_without_rules(layer))
        result, message = self._build(single)
        if result is None:
            given = f" of {', '.join(f'{name} ({by_x(shape)})' for name, shape in inputs.items())}" if inputs else ""
            self._fault(entry, f"{layer.type} layer {layer.name!r}{given}: Caffe stops with {message!r}; correct its "
                               "fields or its inputs")
            return
        self.blobs.update({top: result["blobs"][top] for top in layer.top})
        weights = result["weights"].get(layer.name, [])
        blobs = {top: self.blobs[top] for top in layer.top if top not in in_place}
        self.layers.append(Layer(layer.name, layer.type, *_geometry(layer), blobs, weights,
                                 _multiply_adds(layer, weights, self.blobs)))

    def _readable(self, layer):
        """Return True if a layer reads HDF5 files that exist; Caffe then takes the sizes from them."""
        source = Path(layer.hdf5_data_param.source)
        return layer.type == "HDF5Data" and not set(layer.top) & self.given.keys() and source.is_file() and \
            all(Path(line).is_file() for line in source.read_text(errors="replace").split())

    def _shapes_of_file(self, layer, entry):
        """Return the shapes that a layer is assumed to read, by top; None after a mistake."""
        from deep.preprocess import TRAIN_SIZE

        batch, shapes = layer.hdf5_data_param.batch_size, {}
        for index, top in enumerate(layer.top):
            prepared = (batch, PREPARED[top], *TRAIN_SIZE[::-1]) if batch and top in PREPARED else None
            shape = self.given.get(top, prepared)
            if shape is None and layer.type == "HDF5Data" and not batch:
                self._fault(entry, f"HDF5Data layer {layer.name!r} has no batch_size; add batch_size: 2",
                            "hdf5_data_param")
                return None
            if shape is None:
                self._fault(entry, f"the size of {top!r} is in a file that is not read here; give it: --shape "
                                   f"{top}=2x3x240x320", ("top", index))
                return None
            shapes[top] = list(shape)
        return shapes

    def build_net(self, layers):
        """Build all layers as one net: some mistakes, as in shared weights, are those of no single layer."""
        net = messages().NetParameter()
        for layer in layers:
            shapes = self.inputs.get(layer.name)
            net.layer.extend([_input(*pair) for pair in shapes.items()] if shapes else [_without_rules(layer)])
        result, message = self._build(net)
        if result is None:
            self.faults.append((1, f"every layer is correct, but not the net: Caffe stops with {message!r}; correct "
                                   "it"))

    def _build(self, net):
        """Build a net in a process of its own; return (sizes, None), or (None, Caffe's message) if that ended it."""
        with tempfile.TemporaryDirectory() as folder:
            path, out = Path(folder) / "net.prototxt", Path(folder) / "sizes.json"
            path.write_text(str(net), encoding="utf-8")
            before = self.log.stat().st_size
            # a fork takes milliseconds, and this process has never run a layer: no thread of Caffe's can be lost in it
            child = multiprocessing.get_context("fork").Process(
                target=_write_sizes, args=(self.caffe, str(path), self.phase, str(out)))
            child.start()
            child.join()
            if out.is_file():
                return read_json(out), None
            if child.exitcode == -signal.SIGKILL:  # not a mistake in the net: see `list_layers`
                os.kill(os.getpid(), signal.SIGKILL)
            return None, fatal_message(self.log, before) or "no reason given"


def _write_sizes(caffe, path, phase, out):
    """Build a net and write the shapes of its blobs and weights as JSON."""
    limit_memory(limit("SALIENCY_READ_MB") << 20)  # a mistyped number of outputs must not take all memory
    net = caffe.Net(path, getattr(caffe, phase))
    write_json(out, {"blobs": {name: list(blob.shape) for name, blob in net.blobs.items()},
                     "weights": {name: [list(blob.shape) for blob in blobs]
                                 for name, blobs in net.params.items()}})


def _input(name, shape):
    """Return an Input layer with one output."""
    layer = messages().LayerParameter(name=f"input {name}", type="Input", top=[name])
    layer.input_param.shape.add(dim=shape)
    return layer


def _without_rules(layer):
    """Return a copy of a layer that belongs to every phase."""
    copy = messages().LayerParameter()
    copy.CopyFrom(layer)
    copy.ClearField("include")
    copy.ClearField("exclude")
    return copy


def _missing_field(layer):
    """Return a fault, followed by the names of the field, if a layer lacks a field that it requires; or None."""
    parameters = DENSE.get(layer.type)
    if parameters and not getattr(layer, parameters).num_output:
        return (f"{layer.type} layer {layer.name!r} has no num_output; add {parameters} {{ num_output: 64 }}",
                parameters)
    parameters = PARAMETERS.get(layer.type)
    pools_all = layer.type == "Pooling" and layer.pooling_param.global_pooling
    kernel = _values(getattr(layer, parameters), "kernel") if parameters else []
    if parameters and not pools_all and not (kernel and all(kernel)):
        return (f"{layer.type} layer {layer.name!r} has no kernel_size; add {parameters} {{ kernel_size: 3 }}",
                parameters)
    return None


def _kernel_too_large(layer, inputs):
    """Return a fault, followed by the names of the field, if a kernel is larger than the padded input; or None."""
    if layer.type not in ("Convolution", "Pooling") or not inputs:
        return None
    parameters, shape = getattr(layer, PARAMETERS[layer.type]), list(inputs.values())[0]
    kernel, stride, pad = _geometry(layer)
    dilation = list(getattr(parameters, "dilation", [])) or [1]
    for axis, size in enumerate(shape[-len(kernel):] if kernel else []):
        extent = dilation[min(axis, len(dilation) - 1)] * (kernel[axis] - 1) + 1
        # pooling rounds up: a cell that is partly outside is valid, a map without a cell is not
        excess = extent - size - 2 * pad[axis] - (stride[axis] - 1 if layer.type == "Pooling" else 0)
        if excess > 0:
            return (f"the kernel of {layer.type} layer {layer.name!r}, {by_x(kernel)}, is larger than its input "
                    f"{list(inputs)[0]} ({by_x(shape)}); reduce kernel_size, or increase pad or the input",
                    PARAMETERS[layer.type], "kernel_size")
    return None


def _geometry(layer):
    """Return kernel, stride and pad of a layer, each a list by axis; empty without a kernel or if it is the input."""
    parameters = PARAMETERS.get(layer.type)
    if parameters is None or layer.type == "Pooling" and layer.pooling_param.global_pooling:
        return [], [], []
    values = getattr(layer, parameters)
    kernel, stride, pad = (_values(values, name) for name in ("kernel", "stride", "pad"))
    return kernel, stride or [1] * len(kernel), pad or [0] * len(kernel)


def _values(parameters, name):
    """Return the values by axis of "kernel", "stride" or "pad": repeated, single or by _h and _w; at least two."""
    if any(parameters.HasField(f"{name}_{axis}") for axis in "hw"):
        return [getattr(parameters, f"{name}_{axis}") for axis in "hw"]
    values = getattr(parameters, "kernel_size" if name == "kernel" else name)
    values = [values] if isinstance(values, int) else list(values)
    return values * 2 if len(values) == 1 else values


def _multiply_adds(layer, weights, blobs):
    """Count the multiplications of a convolution or a dense layer, for one batch."""
    if layer.type not in DENSE or not weights:
        return 0
    if layer.type == "Deconvolution":  # each input value is multiplied with the kernels of its channel
        return sum(math.prod(blobs[name]) * math.prod(weights[0][1:]) for name in layer.bottom)
    outputs = getattr(layer, DENSE[layer.type]).num_output
    return sum(math.prod(blobs[name]) * (math.prod(weights[0]) // outputs) for name in layer.top)


def _nearest(name, names):
    """Return "did you mean ...?" with the nearest of some names, or an empty text."""
    nearest = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else ""
