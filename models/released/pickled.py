"""Read a pickle without executing it: describe the objects that it would build, and build none of them.

A pickle is a program: it names functions of any module and calls them. Python's own reader executes that program, so
a file from an unknown source can do anything. This reader implements the instructions of protocol 2, which Python 2
writes, as bookkeeping only: where the program calls something, a `PickledObject` records the name and the arguments.
`to_array` converts such a record to an array. A name that weights do not need is an error all the same, so that a
forged file is recognised.

Large strings are the training data in the authors' files. They are skipped, unless `keep` accepts the shape of their
array, so that memory is bounded by the arrays that are read.
"""
import math
import pickle  # for the names of its instructions only; nothing of it is called
import re
import struct

import numpy as np

from common.errors import UserError, WrongFile, os_error_message

LARGE_STRING = 1 << 20  # bytes of a string that is skipped unless its array is accepted
MEMORY_LIMIT = 1 << 30  # bytes of all strings that are read; the largest net's weights are a quarter of that
INSTRUCTION_LIMIT = 3_000_000  # each instruction takes up to a few hundred bytes of memory
LENGTH_LIMIT = 64  # arguments of an object, axes of an array
LINE_LIMIT = 512  # bytes of a name or number that is written as text
ALLOWED_PACKAGES = ("nolearn", "lasagne", "theano", "numpy", "scipy", "sklearn", "collections", "copy_reg", "copyreg",
                    "__main__")
ALLOWED_BUILTINS = ("object", "list", "dict", "set", "frozenset", "tuple", "int", "long", "float", "complex", "bool",
                    "str", "unicode", "slice", "xrange")
RECONSTRUCTORS = ("copy_reg._reconstructor", "copyreg.__newobj__", "copy_reg.__newobj__")  # call their first argument
REMEDY = "download it again, or take another file"


class PickledObject:
    """Record of an object that a pickle would build.

    Attributes
    ----------
    name : str
        "module.class" of the class or function.
    args : tuple
        Arguments of the call.
    state : object or None
        What the object's `__setstate__` or `__dict__` would receive.
    items : list
        Values that would be appended to it.
    pairs : dict
        Values that would be set in it by key.
    """

    def __init__(self, name, args=()):
        self.name, self.args = name, args
        self.state, self.items, self.pairs = None, [], {}

    def __repr__(self):
        return f"PickledObject({self.name})"


class Skipped:
    """Placeholder of a string that was not read; `size` in bytes."""

    def __init__(self, size):
        self.size = size


def read_pickle(path, keep=lambda shape: True, allow=(), advance=lambda size: None):
    """Describe the content of a pickle.

    Parameters
    ----------
    path : path
    keep : callable (tuple of int) -> bool
        Return True to read the values of a large array of this shape, False to skip them; called before they are read.
    allow : collection of str
        Each a "module.name" that is accepted, in addition to the libraries that made the file.
    advance : callable (int)
        Called with the number of bytes read, for a progress bar.

    Returns
    -------
    PickledObject, or a plain value: dict, list, tuple, str, bytes, number or None

    Raises
    ------
    UserError
        The file is missing, cut off, not a pickle of protocol 2, contains names that weights do not need, or needs
        more memory than weights do. Nothing in it was executed.
    """
    try:
        with open(path, "rb") as file:
            return _Reader(path, file, keep, set(allow), advance).read()
    except OSError as error:
        raise UserError(os_error_message(error)) from error


def to_array(value):
    """Convert the record of a numpy array, or of an array that was on a graphics card, to an array.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        The value is not an array, its values were skipped, or they do not fill its shape.
    """
    while isinstance(value, PickledObject) and "CudaNdarray_unpickler" in value.name and len(value.args) == 1:
        value = value.args[0]
    if not (isinstance(value, PickledObject) and value.name.endswith("multiarray._reconstruct") and
            isinstance(value.state, tuple) and len(value.state) == 5):
        raise ValueError(f"a {type(value).__name__} is not an array")
    _, shape, dtype, fortran, data = value.state
    if _is_shape(shape) and isinstance(data, Skipped):
        raise ValueError(f"an array of shape {shape} was skipped, because no array of that shape is expected")
    if not (_is_shape(shape) and isinstance(data, bytes)):
        raise ValueError("an array has no shape or no values")
    dtype = _to_dtype(dtype)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array has shape {shape} but {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def to_scalar(dtype, data):
    """Convert the record of a numpy scalar, its dtype and its bytes, to a number; None if it is not one."""
    try:
        return np.frombuffer(data.encode("latin-1") if isinstance(data, str) else data, _to_dtype(dtype)).item()
    except (ValueError, TypeError, AttributeError):
        return None


def state_dicts(value):
    """List the dicts in the state of a PickledObject, whose class may have wrapped them in a tuple."""
    state = getattr(value, "state", None)
    return [part for part in (state if isinstance(state, tuple) else (state,)) if isinstance(part, dict)]


def attribute(value, name):
    """Return the attribute `name` of a PickledObject, from its state; None if it has none."""
    return next((state[name] for state in state_dicts(value) if name in state), None)


def list_items(value):
    """List the items of a list, or of an object of a class derived from list; empty for anything else."""
    return value if isinstance(value, list) else value.items if isinstance(value, PickledObject) else []


def dict_items(value):
    """List the (key, value) pairs of a dict or of an OrderedDict, however it was pickled; empty for anything else."""
    if isinstance(value, dict):
        return list(value.items())
    if not isinstance(value, PickledObject):
        return []
    if value.pairs:
        return list(value.pairs.items())
    first = value.args[0] if value.args else None
    return [tuple(pair) for pair in (first if isinstance(first, list) else [])
            if isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str | int)]


def _to_dtype(value):
    """Convert the record of a dtype to a dtype: numbers of a fixed size, of either byte order."""
    code = value.args[0] if isinstance(value, PickledObject) and value.name == "numpy.dtype" and value.args else None
    if not (isinstance(code, str) and re.fullmatch(r"f[248]|[iu][1248]|b1", code)):
        raise ValueError("an array's values are of a type that weights do not have")
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "<"
    return np.dtype((order if order in ("<", ">") else "<") + code)


def _is_shape(value):
    return (isinstance(value, tuple) and len(value) <= LENGTH_LIMIT
            and all(type(length) is int and length >= 0 for length in value))


class _Mark:
    """The place on the stack where a list of values begins."""


class _Reader:
    """The state of a pickle's program: its stack, and its memo of values by number."""

    def __init__(self, path, file, keep, allow, advance):
        self.path, self.file, self.keep, self.allow, self.advance = path, file, keep, allow, advance
        self.stack, self.memo, self.memory = [], {}, 0
        self.size = file.seek(0, 2)
        file.seek(0)

    def read(self):
        count = 0
        while (code := self.read_bytes(1)) != pickle.STOP:
            if code not in _INSTRUCTIONS:
                self.fail(f"instruction {code!r} at byte {self.file.tell() - 1} is not part of pickle protocol 2")
            if (count := count + 1) > INSTRUCTION_LIMIT:
                self.fail(f"has more than {INSTRUCTION_LIMIT:,} instructions, and weights need fewer")
            _INSTRUCTIONS[code](self)
        return self.pop()

    def fail(self, fault):
        raise WrongFile(f"{self.path}: {fault}; {REMEDY}")

    # bytes of the file

    def check_available(self, size):
        """Raise WrongFile if the file has fewer than `size` bytes left; called before memory is allocated for them."""
        if size < 0 or size > self.size - self.file.tell():
            self.fail(f"cut off at byte {self.file.tell()} of {self.size}, or not a pickle")

    def read_bytes(self, size):
        self.check_available(size)
        return self.file.read(size)

    def read_content(self, size):
        """Read the bytes of a string, which count towards the memory limit."""
        self.memory += size
        if self.memory > MEMORY_LIMIT:
            self.fail(f"holds more than {MEMORY_LIMIT >> 20} MB besides training data")
        return self.read_bytes(size)

    def read_number(self, form):
        """Read a number of a fixed size; `form` is a format of the struct module."""
        return struct.unpack(form, self.read_bytes(struct.calcsize(form)))[0]

    def read_line(self):
        line = self.file.readline(LINE_LIMIT)
        if not line.endswith(b"\n"):
            self.fail(f"the line that ends at byte {self.file.tell()} is cut off or too long")
        return line[:-1].decode("latin-1")

    # the stack and the memo

    def push(self, value):
        self.stack.append(value)

    def pop(self):
        if not self.stack or isinstance(self.stack[-1], _Mark):
            self.fail(f"takes a value from an empty stack at byte {self.file.tell()}")
        return self.stack.pop()

    def pop_to_mark(self):
        """Remove and return all values above the last mark, and remove the mark."""
        values = []
        while self.stack and not isinstance(self.stack[-1], _Mark):
            values.append(self.stack.pop())
        if not self.stack:
            self.fail(f"a list of values ends at byte {self.file.tell()} without a beginning")
        self.stack.pop()
        return values[::-1]

    def peek(self):
        value = self.pop()
        self.push(value)
        return value

    def store(self, key):
        self.memo[key] = self.peek()

    def recall(self, key):
        if key not in self.memo:
            self.fail(f"uses a value before storing it, at byte {self.file.tell()}")
        self.push(self.memo[key])

    # plain values

    def push_string(self, size):
        """Push a string of Python 2: str if it is short, bytes or `Skipped` if it holds the values of an array."""
        # the state of an array is (version, shape, dtype, whether columns come first, bytes)
        is_data = len(self.stack) > 3 and type(self.stack[-1]) is bool and _is_shape(self.stack[-3])
        if size > LARGE_STRING and not (is_data and self.keep(self.stack[-3])):
            self.check_available(size)
            self.file.seek(size, 1)
            self.advance(size)
            return self.push(Skipped(size))
        data = self.read_content(size)
        self.advance(size)
        return self.push(data if is_data or size > LINE_LIMIT else data.decode("latin-1"))

    def push_unicode(self, size):
        if size > LARGE_STRING:
            self.fail(f"has a text of {size} bytes at byte {self.file.tell()}")
        self.push(self.read_content(size).decode("utf-8", "replace"))

    def push_long(self, size):
        if size > LINE_LIMIT:
            self.fail(f"has a number of {size} bytes at byte {self.file.tell()}")
        self.push(int.from_bytes(self.read_bytes(size), "little", signed=True))

    def push_text_number(self, kind):
        """Push a number that is written as text; `kind` is int or float."""
        text = self.read_line()
        try:
            self.push({"00": False, "01": True}[text] if text in ("00", "01") else kind(text.rstrip("L")))
        except ValueError:
            self.fail(f"{text[:40]!r} at byte {self.file.tell()} is not a number")

    def push_tuple(self, size):
        self.push(tuple([self.pop() for _ in range(size)][::-1]))

    def push_dict(self):
        values = self.pop_to_mark()
        self.push({})
        self.set_items(values)

    # names, calls and objects: recorded, never executed

    def name_object(self, module, name):
        """Return the record of a class or function; raise WrongFile if weights do not need it."""
        full_name = f"{module}.{name}"
        allowed = (module.split(".")[0] in ALLOWED_PACKAGES
                   or module in ("__builtin__", "builtins") and name in ALLOWED_BUILTINS)
        if not allowed and full_name not in self.allow:
            raise WrongFile(f"{self.path}: contains the name {full_name}, which weights do not need; nothing in it was "
                            f"executed. Do not open it with another program; take another file, or accept this name "
                            f"with --allow {full_name}")
        return PickledObject(full_name)

    def record_call(self, function, args):
        """Return the record of a call."""
        if not (isinstance(function, PickledObject) and isinstance(args, tuple)):
            self.fail(f"calls something that is not a function at byte {self.file.tell()}")
        return PickledObject(function.name, args)

    def push_call(self):
        """Push the record of a call, or of a new object: function and arguments lie on the stack."""
        args, function = self.pop(), self.pop()
        if isinstance(function, PickledObject) and function.name in RECONSTRUCTORS \
                and isinstance(args, tuple) and args and isinstance(args[0], PickledObject):
            if len(args) > LENGTH_LIMIT:
                self.fail(f"creates an object with {len(args)} arguments")
            function, args = args[0], args[1:]
        self.push(self.record_call(function, args))

    def push_object(self):
        """Push the record of an object; its class and arguments lie above the mark."""
        values = self.pop_to_mark()
        self.push(self.record_call(values[0] if values else None, tuple(values[1:])))

    def push_instance(self):
        """Push the record of an object; its class is in the instruction, the arguments lie above the mark."""
        module, name = self.read_line(), self.read_line()
        self.push(self.record_call(self.name_object(module, name), tuple(self.pop_to_mark())))

    def set_state(self):
        state, target = self.pop(), self.peek()
        if isinstance(target, PickledObject):
            target.state = state

    def append_item(self):
        value = self.pop()
        self.append_items([value])

    def append_items(self, values):
        target = self.peek()
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, PickledObject):
            target.items.extend(values)

    def set_item(self):
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def set_items(self, values):
        """Set keys, the values of even index, to those of odd index."""
        target = self.peek()
        pairs = target.pairs if isinstance(target, PickledObject) else target
        if isinstance(pairs, dict):
            # keys other than names and numbers could be nested without limit
            pairs.update((key, value) for key, value in zip(values[::2], values[1::2])
                         if isinstance(key, str | int | float | bool))


_INSTRUCTIONS = {
    pickle.PROTO: lambda r: r.read_number("B"),
    # stack and memo
    pickle.MARK: lambda r: r.push(_Mark()),
    pickle.POP: lambda r: r.pop(),
    pickle.POP_MARK: lambda r: r.pop_to_mark(),
    pickle.DUP: lambda r: r.push(r.peek()),
    pickle.PUT: lambda r: r.store(r.read_line()),
    pickle.BINPUT: lambda r: r.store(r.read_number("B")),
    pickle.LONG_BINPUT: lambda r: r.store(r.read_number("<I")),
    pickle.GET: lambda r: r.recall(r.read_line()),
    pickle.BINGET: lambda r: r.recall(r.read_number("B")),
    pickle.LONG_BINGET: lambda r: r.recall(r.read_number("<I")),
    # plain values
    pickle.NONE: lambda r: r.push(None),
    pickle.NEWTRUE: lambda r: r.push(True),
    pickle.NEWFALSE: lambda r: r.push(False),
    pickle.INT: lambda r: r.push_text_number(int),
    pickle.BININT: lambda r: r.push(r.read_number("<i")),
    pickle.BININT1: lambda r: r.push(r.read_number("B")),
    pickle.BININT2: lambda r: r.push(r.read_number("<H")),
    pickle.LONG: lambda r: r.push_text_number(int),
    pickle.LONG1: lambda r: r.push_long(r.read_number("B")),
    pickle.LONG4: lambda r: r.push_long(r.read_number("<i")),
    pickle.FLOAT: lambda r: r.push_text_number(float),
    pickle.BINFLOAT: lambda r: r.push(r.read_number(">d")),
    pickle.STRING: lambda r: r.push(r.read_line()[1:-1]),
    pickle.BINSTRING: lambda r: r.push_string(r.read_number("<i")),
    pickle.SHORT_BINSTRING: lambda r: r.push_string(r.read_number("B")),
    pickle.UNICODE: lambda r: r.push(r.read_line()),
    pickle.BINUNICODE: lambda r: r.push_unicode(r.read_number("<I")),
    # containers
    pickle.EMPTY_TUPLE: lambda r: r.push(()),
    pickle.TUPLE1: lambda r: r.push_tuple(1),
    pickle.TUPLE2: lambda r: r.push_tuple(2),
    pickle.TUPLE3: lambda r: r.push_tuple(3),
    pickle.TUPLE: lambda r: r.push(tuple(r.pop_to_mark())),
    pickle.EMPTY_LIST: lambda r: r.push([]),
    pickle.LIST: lambda r: r.push(r.pop_to_mark()),
    pickle.APPEND: lambda r: r.append_item(),
    pickle.APPENDS: lambda r: r.append_items(r.pop_to_mark()),
    pickle.EMPTY_DICT: lambda r: r.push({}),
    pickle.DICT: lambda r: r.push_dict(),
    pickle.SETITEM: lambda r: r.set_item(),
    pickle.SETITEMS: lambda r: r.set_items(r.pop_to_mark()),
    # names, calls and objects
    pickle.GLOBAL: lambda r: r.push(r.name_object(r.read_line(), r.read_line())),
    pickle.REDUCE: lambda r: r.push_call(),
    pickle.NEWOBJ: lambda r: r.push_call(),
    pickle.OBJ: lambda r: r.push_object(),
    pickle.INST: lambda r: r.push_instance(),
    pickle.BUILD: lambda r: r.set_state(),
}
