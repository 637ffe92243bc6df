"""Paths of the prototxt files, Caffe's messages, and a parser whose errors name the line."""
import difflib
import functools
import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError, os_error_message
from deep.backend import load_caffe

HERE = Path(__file__).resolve().parent
DEPLOY, TRAIN_VAL, SOLVER = HERE / "deploy.prototxt", HERE / "train_val.prototxt", HERE / "solver.prototxt"
# comments, strings, marks, names and numbers, ends of lines
TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}<>\[\]:;,]|[^\s{}<>\[\]:;,#"']+|\n""")


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
    except UserError as error:
        package = importlib.util.find_spec("caffe")
        path = package and Path(package.origin).parent / "proto/caffe_pb2.py"
        if not (path and path.is_file()):
            raise UserError("caffe_pb2.py, which defines the prototxt files, is missing: the build of Caffe makes it; "
                            "run `make caffe`, then use build/env/bin/python") from error
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
        return text_format.Parse(_read_text(path), message, allow_unknown_field=allow_unknown_field)
    except text_format.ParseError as error:
        raise UserError(f"{path}: line {error}; correct it there") from error


def _read_text(path):
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file; give a prototxt") from error


@dataclass
class FieldEntry:
    """A field in the text of a prototxt: its name, its line (from 1) and the fields inside it."""

    name: str
    line: int
    children: list = field(default_factory=list)

    def line_of(self, *names):
        """Return the line of a field inside this one, or of the innermost that is there.

        Each of `names` is a name, or a pair of a name and an index, as in ("bottom", 1).
        """
        if not names:
            return self.line
        name, index = names[0] if isinstance(names[0], tuple) else (names[0], 0)
        matches = [child for child in self.children if child.name == name]
        return matches[index].line_of(*names[1:]) if index < len(matches) else self.line


def read_fields(text):
    """Read the names and lines of all fields of a prototxt, without a schema.

    Parameters
    ----------
    text : str
        Content of the file. If it has a mistake, the fields after that may be wrong.

    Returns
    -------
    FieldEntry
        The whole file; its children are the fields of the outermost level.
    """
    root = FieldEntry("", 1)
    stack, line, follows_colon, in_list = [root], 1, False, False
    for token in TOKEN.findall(text):
        if token == "\n":
            line += 1
        elif token in "{<":
            stack.append(stack[-1].children[-1] if stack[-1].children else FieldEntry("", line))
            follows_colon = in_list = False
        elif token in "}>":
            stack = stack[:-1] or [root]
        elif token in "[]":
            in_list, follows_colon = token == "[", False
        elif token == ":":
            follows_colon = True
        elif token[0] not in "#,;":
            if not (follows_colon or in_list) and re.match(r"[A-Za-z_]", token):
                stack[-1].children.append(FieldEntry(token, line))
            follows_colon = False
    return root


def check_fields(path, message):
    """Read a prototxt and check its syntax and the names of its fields.

    Parameters
    ----------
    path : path
    message : protobuf message
        Empty message of the type that the file holds, as NetParameter.

    Returns
    -------
    (str, list of (int, str))
        The text, and the mistakes: line and "fault; remedy". All unknown fields are listed; of other mistakes, the
        first.

    Raises
    ------
    UserError
        The file is missing or is no text.
    """
    from google.protobuf import text_format

    text = _read_text(path)
    unknown = list(_unknown_fields(read_fields(text), message.DESCRIPTOR))
    if unknown:
        return text, unknown
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        fault = re.sub(r"^\d+:\d+ : ('.*': )?", "", str(error)).rstrip(".")
        return text, [(error.GetLine() or 1, f"{fault}; correct it there")]
    return text, []


def _unknown_fields(entry, descriptor):
    """Iterate over (line, fault) of the fields that a message does not have."""
    for child in entry.children:
        known = descriptor.fields_by_name.get(child.name)
        if known is None:
            nearest = difflib.get_close_matches(child.name, descriptor.fields_by_name, n=1)
            remedy = f"did you mean {nearest[0]}?" if nearest else f"its fields: {', '.join(descriptor.fields_by_name)}"
            yield child.line, f"{descriptor.name} has no field {child.name!r}; {remedy}"
        elif known.message_type:
            yield from _unknown_fields(child, known.message_type)
