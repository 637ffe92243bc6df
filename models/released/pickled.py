"""Read a pickle without executing it: describe the objects that it would build, and build none of them.

A pickle is a program: it names functions of any module and calls them. Python's own reader executes that program, so
a file from an unknown source can do anything. This reader implements the instructions of protocols 0 to 5, as Python 2
and 3 write them, as bookkeeping only: where the program calls something, a `PickledObject` records the name and the
arguments. `to_array` converts such a record to an array. A name that weights do not need is an error all the same, so
that a forged file is recognised. One call has a result: Python 3 writes bytes for Python 2 as
`_codecs.encode(text, "latin1")`, and the reader encodes that text itself.

Large strings are the training data in the authors' files. They are skipped. When the array that they belong to is
complete, and `keep` accepts its shape, they are read, so that memory is bounded by the arrays that are read.
"""
import codecs
import math
import pickle  # for the names of its instructions only; nothing of it is called
import re
import struct

import numpy as np

from common.errors import UserError, WrongFile, os_error_message, show_names, to_printable

LARGE_STRING = 1 << 20  # bytes of a string that is skipped unless its array is accepted
CHUNK = 1 << 20  # bytes of a long text that are converted at a time
MEMORY_LIMIT = 1 << 30  # bytes of all strings that are read; the largest net's weights are a quarter of that
INSTRUCTION_LIMIT = 3_000_000  # each instruction takes up to a few hundred bytes of memory
LENGTH_LIMIT = 64  # arguments of an object, axes of an array
LINE_LIMIT = 512  # bytes of a name or number that is written as text
ALLOWED_PACKAGES = ("nolearn", "lasagne", "theano", "numpy", "scipy", "sklearn", "collections", "copy_reg", "copyreg",
                    "__main__")
ALLOWED_BUILTINS = ("object", "list", "dict", "set", "frozenset", "tuple", "int", "long", "float", "complex", "bool",
                    "str", "unicode", "slice", "xrange", "range", "bytes", "bytearray")
ENCODE, LATIN_1 = "_codecs.encode", ("latin1", "latin-1")  # bytes, as Python 3 writes them in protocols 0 to 2
BYTES = ("__builtin__.bytes", "builtins.bytes")  # called without arguments, for no bytes
RECONSTRUCTORS = ("copy_reg._reconstructor", "copyreg._reconstructor", "copyreg.__newobj__",
                  "copy_reg.__newobj__")  # call their first argument
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
    """Placeholder of a string that was not read.

    Attributes
    ----------
    offset, size : int
        Its place in the file, bytes.
    encoding : str or None
        Encoding of a text; None for bytes.
    """

    def __init__(self, offset, size, encoding=None):
        self.offset, self.size, self.encoding = offset, size, encoding


def read_pickle(path, keep=lambda shape: True, allow=(), advance=lambda size: None):
    """Describe the content of a pickle.

    Parameters
    ----------
    path : path
    keep : callable (tuple of int) -> bool
        Return True to read the values of a large array of this shape; otherwise they stay skipped.
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
        The file is missing, cut off, not a pickle, contains names that weights do not need, or needs
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
    shape, dtype, order, data = _array_parts(value)
    if _is_shape(shape) and isinstance(data, Skipped):
        raise ValueError(f"an array of shape {shape} was skipped, because no array of that shape is expected")
    if isinstance(data, str):  # a short string of Python 2
        data = data.encode("latin-1")
    if not (_is_shape(shape) and isinstance(data, bytes | bytearray)):
        raise ValueError("an array has no shape or no values")
    dtype = _to_dtype(dtype)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array has shape {shape} but {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


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


def _array_parts(value):
    """Return shape, dtype, order and values of the record of an array: a state, or in protocol 5 arguments."""
    if _is_array(value) and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, dtype, fortran, data = value.state
        return shape, dtype, "F" if fortran else "C", data
    if _is_array(value, "numeric._frombuffer") and len(value.args) == 4 and value.args[3] in ("C", "F"):
        data, dtype, shape, order = value.args
        return shape, dtype, order, data
    raise ValueError(f"a {type(value).__name__} is not an array")


def _is_array(value, function="multiarray._reconstruct"):
    """Return True for the record of a call of this function of numpy."""
    return isinstance(value, PickledObject) and value.name.startswith("numpy.") and value.name.endswith(f".{function}")


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
                self.fail(f"instruction {code!r} at byte {self.file.tell() - 1} is not one of a pickle of weights")
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
        self.count_memory(size)
        return self.read_bytes(size)

    def count_memory(self, size):
        self.memory += size
        if self.memory > MEMORY_LIMIT:
            self.fail(f"holds more than {MEMORY_LIMIT >> 20} MB besides training data")

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

    # strings

    def push_bytes(self, size):
        """Push a string of bytes, or `Skipped` if it is long."""
        if size > LARGE_STRING:
            self.push_skipped(size)
        else:
            self.push(self.read_content(size))
            self.advance(size)

    def push_string(self, size):
        """Push a string of Python 2: str if it is short, since it may be a name; otherwise as `push_bytes`."""
        self.push_bytes(size)
        if size <= LINE_LIMIT:
            self.push(self.pop().decode("latin-1"))

    def push_unicode(self, size):
        """Push a text, or `Skipped` if it is long."""
        if size > LARGE_STRING:
            self.push_skipped(size, "utf-8")
        else:
            self.push(self.read_content(size).decode("utf-8", "replace"))

    def push_unicode_line(self):
        """Push a text of protocol 0, which ends with its line, or `Skipped` if it is long."""
        offset = self.file.tell()
        line = self.file.readline(LARGE_STRING)
        while line and not line.endswith(b"\n"):
            line = self.file.readline(CHUNK)
        size = self.file.tell() - 1 - offset
        if not line:
            self.fail(f"the text at byte {offset} is cut off")
        self.file.seek(offset)
        if size > LARGE_STRING:
            self.push_skipped(size, "raw-unicode-escape")
        else:
            self.push(self.decode(self.read_content(size), codecs.getincrementaldecoder("raw-unicode-escape")(), True))
        self.read_bytes(1)

    def push_skipped(self, size, encoding=None):
        self.check_available(size)
        self.push(Skipped(self.file.tell(), size, encoding))
        self.file.seek(size, 1)
        self.advance(size)

    def read_skipped(self, skipped):
        """Read the bytes of a skipped string; those of a text are its characters, in Latin-1."""
        place = self.file.tell()
        self.file.seek(skipped.offset)
        if skipped.encoding is None:
            data = self.read_content(skipped.size)
        else:
            data, decoder = bytearray(), codecs.getincrementaldecoder(skipped.encoding)()
            for start in range(0, skipped.size, CHUNK):
                size = min(CHUNK, skipped.size - start)
                data += self.encode(self.decode(self.read_content(size), decoder, start + size == skipped.size))
        self.file.seek(place)
        return data

    def decode(self, data, decoder, final):
        try:
            return decoder.decode(data, final)
        except UnicodeError:
            return self.fail(f"the text before byte {self.file.tell()} is damaged")

    def encode(self, text):
        try:
            return text.encode("latin-1")
        except UnicodeError:
            return self.fail(f"the text before byte {self.file.tell()} does not stand for bytes")

    # plain values

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
        allowed = (full_name == ENCODE or module.split(".")[0] in ALLOWED_PACKAGES
                   or module in ("__builtin__", "builtins") and name in ALLOWED_BUILTINS)
        if not allowed and full_name not in self.allow:
            raise WrongFile(f"{self.path}: contains the name {show_names(full_name)}, which weights do not need; "
                            "nothing in it was executed. Do not open it with another program; take another file, "
                            f"or accept this name with --allow {to_printable(full_name)}")
        return PickledObject(full_name)

    def name_object_on_stack(self):
        """Push the record of a class or function, whose module and name lie on the stack."""
        name, module = self.pop(), self.pop()
        if not all(isinstance(part, str) and len(part) <= LINE_LIMIT for part in (module, name)):
            self.fail(f"the name before byte {self.file.tell()} is not a text or too long")
        self.push(self.name_object(module, name))

    def record_call(self, function, args):
        """Return the record of a call, or the bytes that it stands for."""
        if not (isinstance(function, PickledObject) and isinstance(args, tuple)):
            self.fail(f"calls something that is not a function at byte {self.file.tell()}")
        if function.name == ENCODE:
            return self.record_bytes(args)
        if function.name in BYTES and not args:
            return b""
        if _is_array(function, "numeric._frombuffer") and len(args) == 4:
            args = (self.keep_data(args[0], args[2]), *args[1:])
        return PickledObject(function.name, args)

    def record_bytes(self, args):
        """Return the bytes that Python 3 wrote as a text; a long text stays skipped."""
        text, encoding = args if len(args) == 2 else (None, None)
        if encoding in LATIN_1 and isinstance(text, str):
            self.count_memory(len(text))  # the same text may be encoded many times
            return self.encode(text)
        if encoding in LATIN_1 and isinstance(text, Skipped) and text.encoding:
            return text
        return self.fail(f"encodes something that is not a text at byte {self.file.tell()}")

    def keep_data(self, data, shape):
        """Return the values of an array of this shape; read them if they were skipped and are needed."""
        return self.read_skipped(data) if isinstance(data, Skipped) and _is_shape(shape) and self.keep(shape) else data

    def push_call(self):
        """Push the record of a call, or of a new object: function and arguments lie on the stack."""
        args, function = self.pop(), self.pop()
        if isinstance(function, PickledObject) and function.name in RECONSTRUCTORS \
                and isinstance(args, tuple) and args and isinstance(args[0], PickledObject):
            if len(args) > LENGTH_LIMIT:
                self.fail(f"creates an object with {len(args)} arguments")
            function, args = args[0], args[1:]
        self.push(self.record_call(function, args))

    def push_call_with_names(self):
        """Push the record of a new object: class, arguments, and arguments by name lie on the stack."""
        named, args, function = self.pop(), self.pop(), self.pop()
        if not (isinstance(named, dict) and isinstance(args, tuple)):
            self.fail(f"creates an object without arguments at byte {self.file.tell()}")
        self.push(self.record_call(function, (*args, named) if named else args))

    def push_set(self, kind, *args):
        self.push(PickledObject(f"builtins.{kind}", args))

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
            if _is_array(target) and isinstance(state, tuple) and len(state) == 5:
                state = (*state[:4], self.keep_data(state[4], state[1]))
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
    pickle.FRAME: lambda r: r.check_available(r.read_number("<Q")),
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
    pickle.MEMOIZE: lambda r: r.store(len(r.memo)),
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
    pickle.UNICODE: lambda r: r.push_unicode_line(),
    pickle.SHORT_BINUNICODE: lambda r: r.push_unicode(r.read_number("B")),
    pickle.BINUNICODE: lambda r: r.push_unicode(r.read_number("<I")),
    pickle.BINUNICODE8: lambda r: r.push_unicode(r.read_number("<Q")),
    pickle.SHORT_BINBYTES: lambda r: r.push_bytes(r.read_number("B")),
    pickle.BINBYTES: lambda r: r.push_bytes(r.read_number("<I")),
    pickle.BINBYTES8: lambda r: r.push_bytes(r.read_number("<Q")),
    pickle.BYTEARRAY8: lambda r: r.push_bytes(r.read_number("<Q")),
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
    pickle.EMPTY_SET: lambda r: r.push_set("set"),
    pickle.ADDITEMS: lambda r: r.append_items(r.pop_to_mark()),
    pickle.FROZENSET: lambda r: r.push_set("frozenset", r.pop_to_mark()),
    # names, calls and objects
    pickle.GLOBAL: lambda r: r.push(r.name_object(r.read_line(), r.read_line())),
    pickle.STACK_GLOBAL: lambda r: r.name_object_on_stack(),
    pickle.REDUCE: lambda r: r.push_call(),
    pickle.NEWOBJ: lambda r: r.push_call(),
    pickle.NEWOBJ_EX: lambda r: r.push_call_with_names(),
    pickle.OBJ: lambda r: r.push_object(),
    pickle.INST: lambda r: r.push_instance(),
    pickle.BUILD: lambda r: r.set_state(),
}
