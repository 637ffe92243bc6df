"""Paths of the prototxt files, Caffe's messages, and a parser whose errors name the line."""
import functools
import importlib.util
from pathlib import Path

from common.errors import UserError, os_error_message
from deep.backend import load_caffe

HERE = Path(__file__).resolve().parent
DEPLOY, TRAIN_VAL, SOLVER = HERE / "deploy.prototxt", HERE / "train_val.prototxt", HERE / "solver.prototxt"


@functools.cache
def messages():
    """Load the module of Caffe's messages, caffe_pb2; without Caffe's library if that cannot be loaded.

    The PyTorch engine needs no more of Caffe than this module.

    Raises
    ------
    UserError
        Caffe has not been built; its build creates the module.
    """
    try:
        return load_caffe().proto.caffe_pb2
    except UserError:
        package = importlib.util.find_spec("caffe")
        path = package and Path(package.origin).parent / "proto/caffe_pb2.py"
        if not (path and path.is_file()):
            raise
    specification = importlib.util.spec_from_file_location("caffe_pb2", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def parse_prototxt(path, message, allow_unknown_field=False):
    """Read a prototxt file into a protobuf message, such as one of caffe_pb2, and return the message.

    Raises
    ------
    UserError
        The file is missing, or has a mistake; the error names the line.
    """
    from google.protobuf import text_format

    try:
        text = Path(path).read_text(encoding="utf-8")
        return text_format.Parse(text, message, allow_unknown_field=allow_unknown_field)
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file; give a prototxt") from error
    except text_format.ParseError as error:
        raise UserError(f"{path}: line {error}; correct it there") from error
