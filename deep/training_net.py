"""The net that deep.train trains: train_val.prototxt, or another file of the user, checked before it is trained.

The trainer needs two HDF5Data layers with the tops "data" and "label", one per phase, of which that of the phase TRAIN
comes first, and one EuclideanLoss between the output and "label". The layers between them are free.
"""
import hashlib
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError, show_names
from common.files import read_json
from deep.names import rename_in_text
from deep.prototxt import messages, parse_prototxt

INPUT, TARGET = "data", "label"  # tops of the data layers, and names of the data sets in the shards
PHASES = ("TRAIN", "TEST")
SOURCES = {"TRAIN": "train.txt", "TEST": "val.txt"}  # lists of shards in a run folder
SETTING = "train_val.prototxt"  # file in a run folder, and entry of the settings in its config.json
REMEDY = "deep/train_val.prototxt shows how"


@dataclass(frozen=True)
class TrainingNet:
    """A net for training that has what the trainer needs.

    Attributes
    ----------
    path : Path
    text : str
        Content of the file.
    batch_sizes : dict of str: int
        Number of images of a batch, by phase.
    output, loss : str
        Names of the blobs with the net's output and the loss.
    """

    path: Path
    text: str
    batch_sizes: dict
    output: str
    loss: str


def read_training_net(path):
    """Read a net for training, and check that the trainer can use it.

    Parameters
    ----------
    path : path of a prototxt

    Returns
    -------
    TrainingNet

    Raises
    ------
    UserError
        The file is missing, has a mistake, or lacks the inputs or the loss.
    """
    path = Path(path)
    message = parse_prototxt(path, messages().NetParameter())
    if message.layers:
        raise UserError(f"{path}: has the old format with 'layers'; write each as 'layer'; {REMEDY}")
    sizes = {phase: _data_layer(message, phase, path).hdf5_data_param.batch_size for phase in PHASES}
    if not all(sizes.values()):
        raise UserError(f"{path}: a data layer has no batch_size; {REMEDY}")
    output, loss = _output_and_loss(message, path)
    return TrainingNet(path, path.read_text(encoding="utf-8"), sizes, output, loss)


def with_paths(net, folder):
    """Return the text of a net with the lists of shards of a run folder, a pathlib.Path, as its sources.

    Comments stay, unless both phases have the same source or a source does not stand on one line; then the text is
    written anew without them.
    """
    message, text = _parse_text(net.text), net.text
    for layer in message.layer:
        if layer.type == "HDF5Data":
            before = layer.hdf5_data_param.source
            phase = next(phase for phase in PHASES if in_phase(layer, phase))
            layer.hdf5_data_param.source = str(folder.resolve() / SOURCES[phase])
            text = text.replace(f'"{before}"', f'"{layer.hdf5_data_param.source}"')
    return text if _parse_text(text) == message else _to_text(message)


def net_setting(net, folder):
    """Return the entry of a net in the settings of a run: the hash of its text.

    If `folder`, a pathlib.Path or None, holds a run of the same net, the entry is that run's: comments, paths, and the
    old name of a layer do not make another net.
    """
    entry = f"sha256 {hashlib.sha256(net.text.encode()).hexdigest()}"
    if folder is None or not all((folder / name).is_file() for name in ("config.json", SETTING)):
        return entry
    text = rename_in_text((folder / SETTING).read_text(encoding="utf-8", errors="replace"))
    same = _comparable(text) == _comparable(net.text)
    config = read_json(folder / "config.json", {"settings?": dict})
    return config.get("settings", {}).get(SETTING, entry) if same else entry


def _comparable(text):
    """Parse a net without its paths; None if it has a mistake."""
    from google.protobuf import text_format

    try:
        message = _parse_text(text)
    except text_format.ParseError:
        return None
    for layer in message.layer:
        layer.hdf5_data_param.ClearField("source")
    return message


def _data_layer(message, phase, path):
    """Return the data layer of a phase; UserError if there is none, or if it does not come first."""
    layers = [layer for layer in message.layer if in_phase(layer, phase)]
    data = [layer for layer in layers if not layer.bottom]
    if len(data) != 1 or data[0].type != "HDF5Data" or sorted(data[0].top) != [INPUT, TARGET]:
        raise UserError(f"{path}: must have one HDF5Data layer with the tops {INPUT} and {TARGET} for phase {phase}, "
                        f"and no other input, but has {_describe(data)}; {REMEDY}")
    if data[0] is not layers[0]:
        raise UserError(f"{path}: the data layer must come first in phase {phase}; {REMEDY}")
    if sum(in_phase(data[0], other) for other in PHASES) != 1:
        raise UserError(f"{path}: the data layer {data[0].name!r} must belong to one phase, by include; {REMEDY}")
    if data[0].hdf5_data_param.shuffle:
        raise UserError(f"{path}: the data layer {data[0].name!r} sets shuffle, so that a resumed run would use other "
                        "images; remove it, since the images are in random order already")
    return data[0]


def _output_and_loss(message, path):
    """Return the names of the blobs with the net's output and the loss."""
    losses = [layer for layer in message.layer if "Loss" in layer.type and in_phase(layer, "TRAIN")]
    bottoms = list(losses[0].bottom) if losses else []
    if (len(losses) != 1 or losses[0].type != "EuclideanLoss" or len(losses[0].top) != 1 or len(bottoms) != 2
            or TARGET not in bottoms):
        raise UserError(f"{path}: must have one loss, a EuclideanLoss between the output and {TARGET}, but has "
                        f"{_describe(losses)}; {REMEDY}")
    if list(losses[0].loss_weight) not in ([], [1.0]):
        raise UserError(f"{path}: the loss_weight of {losses[0].name!r} must be 1; change base_lr instead")
    bottoms.remove(TARGET)
    return bottoms[0], losses[0].top[0]


def in_phase(layer, phase):
    """Return True if Caffe uses a layer in a phase, "TRAIN" or "TEST", at level 0 without stages."""
    number = messages().Phase.Value(phase)

    def applies(rule):
        return ((not rule.HasField("phase") or rule.phase == number) and not rule.stage
                and rule.min_level <= 0 <= (rule.max_level if rule.HasField("max_level") else 0))
    if layer.include:
        return any(map(applies, layer.include))
    return not any(map(applies, layer.exclude))


def _describe(layers):
    """List layers for an error message."""
    return show_names(f"{layer.type} {layer.name!r} ({', '.join([*layer.bottom, *layer.top])})" for layer in layers) \
        or "none"


def _parse_text(text):
    from google.protobuf import text_format

    return text_format.Parse(text, messages().NetParameter())


def _to_text(message):
    from google.protobuf import text_format

    return text_format.MessageToString(message)
