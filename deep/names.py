"""The name of the last layer, "deconv1" as in the authors' files; until November 2026 our files called it "deconv".

No other module contains the old name. Weights get the new one when they are read, and a run folder when it resumes.
"""
import re

from common.files import write_text

OLD, NEW = "deconv", "deconv1"
RUN_FILES = ("train_val.prototxt", "log.csv", "snapshot.json")  # files of a run folder that contain the name
_OLD_NAME = re.compile(rf"(?<![A-Za-z]){OLD}(?![A-Za-z0-9])")  # not in "Deconvolution"; but in "weights_deconv"


def rename_layers(layers):
    """Return layers, a dict by name, with the last layer's new name; unchanged if the new name is there already."""
    if NEW in layers:
        return layers
    return {NEW if name == OLD else name: value for name, value in layers.items()}


def rename_in_text(text):
    """Replace the old name in the text of a prototxt, a log or a marker."""
    return _OLD_NAME.sub(NEW, text)


def rename_in_run(folder):
    """Replace the old name in the files of a run folder, a pathlib.Path; a file without it is not written."""
    for path in map(folder.joinpath, RUN_FILES):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            if (renamed := rename_in_text(text)) != text:
                write_text(path, renamed)
