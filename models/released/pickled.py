"""Reading a pickle without running it: what it would build is described, and nothing of it is built.

A pickle is a program. It names functions of any module and calls them, so opening a stranger's file with Python's own
reader can do anything. This reader knows the instructions of Python 2's protocol 2 and keeps to bookkeeping: where the
program calls something, a `PickledObject` notes what and with which arguments; whoever wants an array out of it asks
`to_array`. Names that weights have no use for are refused all the same, so that a forged file is told as one.

Large strings are the training data in the authors' files: they are passed over unless `keep` says that
an array of that shape is wanted, and memory stays bounded by what is kept.
"""
import math
import re
import struct

import numpy as np

from common.errors import UserError, WrongFile, os_error_message

LARGE = 1 << 20  # bytes of a string that is passed over unless wanted
KEPT = 1 << 30  # bytes kept in all; the largest net's weights are a quarter of that
INSTRUCTIONS = 3_000_000  # each takes up to a few hundred bytes of memory
MANY = 64  # arguments of an object, axes of an array
LINE = 512  # bytes of a name or number that is written as text
PACKAGES = ("nolearn", "lasagne", "theano", "numpy", "scipy", "sklearn", "collections", "copy_reg", "copyreg",
            "__main__")
BUILTINS = ("object", "list", "dict", "set", "frozenset", "tuple", "int", "long", "float", "complex", "bool", "str",
            "unicode", "slice", "xrange")
REMEDY = "download it again, or take another file"


class PickledObject:
    """What a pickle would have built: `name` ("module.class") called with `args`, then given `state` and items."""

    def __init__(self, name, args=()):
        self.name, self.args = name, args
        self.state, self.items, self.pairs = None, [], {}

    def __repr__(self):
        return f"PickledObject({self.name})"


class Skipped:
    """A string that was passed over."""

    def __init__(self, size):
        self.size = size


def read_pickle(path, keep=lambda shape: True, allow=(), advance=lambda size: None):
    """Describe what is in a pickle.

    Parameters
    ----------
    path : path
    keep : callable (tuple of int) -> bool
        Whether the numbers of a large array of this shape are wanted; it is asked before they are read.
    allow : collection of str
        "module.name"s that are no reason to refuse the file, beside those of the libraries that made it.
    advance : callable (int)
        Told of bytes read, for a progress bar.

    Returns
    -------
    PickledObject, or a plain value: dict, list, tuple, str, bytes, number or None

    Raises
    ------
    UserError
        The file is missing, cut off, no pickle of protocol 2, names what weights have no use for, or wants
        more memory than weights take. Nothing of it was run.
    """
    try:
        with open(path, "rb") as file:
            return _Reader(path, file, keep, set(allow), advance).read()
    except OSError as error:
        raise UserError(os_error_message(error)) from error


def to_array(thing):
    """The numbers of a pickled numpy array, or of one that was on a graphics card.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        It is not one, its numbers were passed over, or they do not fill its shape.
    """
    while isinstance(thing, PickledObject) and "CudaNdarray_unpickler" in thing.name and len(thing.args) == 1:
        thing = thing.args[0]
    if not (isinstance(thing, PickledObject) and thing.name.endswith("multiarray._reconstruct") and
            isinstance(thing.state, tuple) and len(thing.state) == 5):
        raise ValueError(f"a {type(thing).__name__} is not an array")
    _, shape, kind, fortran, data = thing.state
    if _is_shape(shape) and isinstance(data, Skipped):
        raise ValueError(f"an array of shape {shape} was passed over, as none of that shape is wanted")
    if not (_is_shape(shape) and isinstance(data, bytes)):
        raise ValueError("an array has no shape, or its numbers are not there")
    dtype = _dtype(kind)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array says it has shape {shape} and holds {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def scalar(kind, data):
    """A number of numpy's own types from its pickled type and bytes; None if they are none."""
    try:
        return np.frombuffer(data.encode("latin-1") if isinstance(data, str) else data, _dtype(kind)).item()
    except (ValueError, TypeError, AttributeError):
        return None


def attribute(thing, name):
    """`thing.name` as it would be, or None: from its state, which a class may have wrapped in a tuple."""
    state = getattr(thing, "state", None)
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, dict) and name in part:
            return part[name]
    return None


def mapping(thing):
    """[(key, value), ...] of a dict or an OrderedDict in any of its spellings; empty for something else."""
    if isinstance(thing, dict):
        return list(thing.items())
    if not isinstance(thing, PickledObject):
        return []
    if thing.pairs:
        return list(thing.pairs.items())
    first = thing.args[0] if thing.args else None
    pairs = first if isinstance(first, list) else []
    return [tuple(pair) for pair in pairs
            if isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str | int)]


def _dtype(thing):
    """numpy's type of a pickled dtype: numbers of one size, of either byte order."""
    code = thing.args[0] if isinstance(thing, PickledObject) and thing.name == "numpy.dtype" and thing.args else None
    if not (isinstance(code, str) and re.fullmatch(r"f[248]|[iu][1248]|b1", code)):
        raise ValueError("numbers of a kind that weights are not")
    order = thing.state[1] if isinstance(thing.state, tuple) and len(thing.state) > 1 else "<"
    return np.dtype((order if order in ("<", ">") else "<") + code)


def _is_shape(value):
    return (isinstance(value, tuple) and len(value) <= MANY
            and all(type(length) is int and length >= 0 for length in value))


class _Mark:
    """Where a list of arguments begins on the stack."""


class _Reader:
    def __init__(self, path, file, keep, allow, advance):
        self.path, self.file, self.keep, self.allow, self.advance = path, file, keep, allow, advance
        self.stack, self.memo, self.kept = [], {}, 0
        self.size = file.seek(0, 2)
        file.seek(0)

    def read(self):
        count = 0
        while (code := self.bytes(1)) != b".":
            if code not in _INSTRUCTIONS:
                self.fail(f"instruction {code!r} at byte {self.file.tell() - 1} is none of a pickle of protocol 2")
            if (count := count + 1) > INSTRUCTIONS:
                self.fail(f"has more than {INSTRUCTIONS:,} instructions, which no net's weights need")
            _INSTRUCTIONS[code](self)
        return self.pop()

    def fail(self, what):
        raise WrongFile(f"{self.path}: {what}; {REMEDY}")

    def bytes(self, size):
        if size < 0 or size > self.size - self.file.tell():  # asked before memory is
            self.fail(f"cut off at byte {self.file.tell()} of {self.size}, or not a pickle")
        return self.file.read(size)

    def kept_bytes(self, size):
        self.kept += size
        if self.kept > KEPT:
            self.fail(f"holds more than {KEPT >> 20} MB besides training data")
        return self.bytes(size)

    def number(self, form):
        return struct.unpack(form, self.bytes(struct.calcsize(form)))[0]

    def line(self):
        text = self.file.readline(LINE)
        if not text.endswith(b"\n"):
            self.fail(f"a name at byte {self.file.tell()} does not end")
        return text[:-1].decode("latin-1")

    def pop(self):
        if not self.stack or isinstance(self.stack[-1], _Mark):
            self.fail(f"takes from an empty stack at byte {self.file.tell()}")
        return self.stack.pop()

    def pop_mark(self):
        """Everything since the last mark."""
        taken = []
        while self.stack and not isinstance(self.stack[-1], _Mark):
            taken.append(self.stack.pop())
        if not self.stack:
            self.fail(f"takes what was never begun at byte {self.file.tell()}")
        self.stack.pop()
        return taken[::-1]

    def push(self, value):
        self.stack.append(value)

    def string(self, size):
        """A string of Python 2: text where it is short, bytes or `Skipped` where it is an array's."""
        # an array's state is (version, shape, dtype, whether columns come first, bytes)
        is_data = len(self.stack) > 3 and type(self.stack[-1]) is bool and _is_shape(self.stack[-3])
        if size > LARGE and not (is_data and self.keep(self.stack[-3])):
            self.bytes(0 if size <= self.size - self.file.tell() else -1)
            self.file.seek(size, 1)
            self.advance(size)
            return self.push(Skipped(size))
        data = self.kept_bytes(size)
        self.advance(size)
        return self.push(data if is_data or size > LINE else data.decode("latin-1"))

    def named(self, module, name):
        full = f"{module}.{name}"
        fine = module.split(".")[0] in PACKAGES or (module in ("__builtin__", "builtins") and name in BUILTINS)
        if not fine and full not in self.allow:
            raise WrongFile(f"{self.path}: names {full}, which weights have no use for; nothing of it was run. Open it "
                            f"with nothing else; take another file, or read on past the name with --allow {full}")
        return PickledObject(full)

    def call(self, callee, args):
        if not (isinstance(callee, PickledObject) and isinstance(args, tuple)):
            self.fail(f"calls what is no name at byte {self.file.tell()}")
        return PickledObject(callee.name, args)

    def reduce(self):
        args, callee = self.pop(), self.pop()
        if isinstance(callee, PickledObject) and callee.name in ("copy_reg._reconstructor", "copyreg.__newobj__",
                                                         "copy_reg.__newobj__") and args and isinstance(args[0], PickledObject):
            if len(args) > MANY:
                self.fail(f"makes an object of {len(args)} arguments")
            callee, args = args[0], args[1:]
        self.push(self.call(callee, args))

    def object(self):
        taken = self.pop_mark()
        self.push(self.call(taken[0] if taken else None, tuple(taken[1:])))

    def inst(self):
        module, name = self.line(), self.line()
        self.push(self.call(self.named(module, name), tuple(self.pop_mark())))

    def build(self):
        state, target = self.pop(), self.peek()
        if isinstance(target, PickledObject):
            target.state = state

    def peek(self):
        value = self.pop()
        self.push(value)
        return value

    def append(self, values):
        target = self.peek()
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, PickledObject):
            target.items.extend(values)

    def set(self, values):
        target = self.peek()
        pairs = target.pairs if isinstance(target, PickledObject) else target
        if isinstance(pairs, dict):
            # other keys than names and numbers could be nested without end
            pairs.update((key, value) for key, value in zip(values[::2], values[1::2])
                         if isinstance(key, str | int | float | bool))

    def push_dict(self):
        values = self.pop_mark()
        self.push({})
        self.set(values)

    def set_one(self):
        value, key = self.pop(), self.pop()
        self.set([key, value])

    def append_one(self):
        value = self.pop()
        self.append([value])

    def put(self, key):
        self.memo[key] = self.peek()

    def get(self, key):
        if key not in self.memo:
            self.fail(f"recalls what it never noted at byte {self.file.tell()}")
        self.push(self.memo[key])

    def tuple(self, size):
        self.push(tuple([self.pop() for _ in range(size)][::-1]))

    def long(self, size):
        if size > LINE:
            self.fail(f"a number of {size} bytes at byte {self.file.tell()}")
        self.push(int.from_bytes(self.bytes(size), "little", signed=True))

    def text_number(self, kind):
        text = self.line()
        try:
            self.push({"00": False, "01": True}[text] if text in ("00", "01") else kind(text.rstrip("L")))
        except ValueError:
            self.fail(f"{text[:40]!r} at byte {self.file.tell()} is no number")

    def unicode(self, size):
        if size > LARGE:
            self.fail(f"a text of {size} bytes at byte {self.file.tell()}")
        self.push(self.kept_bytes(size).decode("utf-8", "replace"))


_INSTRUCTIONS = {
    b"\x80": lambda r: r.number("B"), b"(": lambda r: r.push(_Mark()), b"0": lambda r: r.pop(),
    b"1": lambda r: r.pop_mark(), b"2": lambda r: r.push(r.peek()),
    b"N": lambda r: r.push(None), b"\x88": lambda r: r.push(True), b"\x89": lambda r: r.push(False),
    b"J": lambda r: r.push(r.number("<i")), b"K": lambda r: r.push(r.number("B")),
    b"M": lambda r: r.push(r.number("<H")),
    b"\x8a": lambda r: r.long(r.number("B")), b"\x8b": lambda r: r.long(r.number("<i")),
    b"G": lambda r: r.push(r.number(">d")), b"I": lambda r: r.text_number(int), b"L": lambda r: r.text_number(int),
    b"F": lambda r: r.text_number(float), b"S": lambda r: r.push(r.line()[1:-1]), b"V": lambda r: r.push(r.line()),
    b"U": lambda r: r.string(r.number("B")), b"T": lambda r: r.string(r.number("<i")),
    b"X": lambda r: r.unicode(r.number("<I")),
    b")": lambda r: r.push(()), b"]": lambda r: r.push([]), b"}": lambda r: r.push({}),
    b"\x85": lambda r: r.tuple(1), b"\x86": lambda r: r.tuple(2), b"\x87": lambda r: r.tuple(3),
    b"t": lambda r: r.push(tuple(r.pop_mark())), b"l": lambda r: r.push(r.pop_mark()),
    b"d": lambda r: r.push_dict(), b"a": lambda r: r.append_one(), b"e": lambda r: r.append(r.pop_mark()),
    b"s": lambda r: r.set_one(), b"u": lambda r: r.set(r.pop_mark()),
    b"q": lambda r: r.put(r.number("B")), b"r": lambda r: r.put(r.number("<I")), b"p": lambda r: r.put(r.line()),
    b"h": lambda r: r.get(r.number("B")), b"j": lambda r: r.get(r.number("<I")), b"g": lambda r: r.get(r.line()),
    b"c": lambda r: r.push(r.named(r.line(), r.line())), b"R": lambda r: r.reduce(), b"\x81": lambda r: r.reduce(),
    b"o": lambda r: r.object(), b"i": lambda r: r.inst(), b"b": lambda r: r.build(),
}
