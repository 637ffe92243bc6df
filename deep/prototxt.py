"""Paths of the prototxt files, and a parser whose errors name the line."""
from pathlib import Path

from common.errors import UserError, os_error_message

HERE = Path(__file__).resolve().parent
DEPLOY, TRAIN_VAL, SOLVER = HERE / "deploy.prototxt", HERE / "train_val.prototxt", HERE / "solver.prototxt"


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
