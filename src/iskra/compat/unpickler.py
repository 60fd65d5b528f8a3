"""Reading a pickle without running it.

A pickle is a program, and the one of a stranger's checkpoint may do anything. `SafeUnpickler`
interprets it itself: it knows a short list of names, calls only what stands on that list, and
changes only what it has built. Everything else in the file is noted, not executed, so that one
error can name all of it.
"""

import io
import pickle
import struct
from collections import Counter, OrderedDict, defaultdict

from iskra.compat.names import ALLOWED, CALLABLE, find
from iskra.core import naming
from iskra.tensor import Tensor

# Python 2's names for modules, as protocol 2 still writes them.
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_OLD_NAMES = {"builtins.xrange": "builtins.range", "builtins.unicode": "builtins.str"}


_FOREIGN = object()  # stands for what the file may not build
_CALLABLE = frozenset(map(id, CALLABLE))


class SafeUnpickler:
    """Interprets one pickle from a stream; see the module's text.

    Args:
        stream: a binary file; it is read up to the pickle's end and no further.
        persistent_load: makes the object that a reference to a storage stands for.
        trusted: classes and functions that the user vouches for, by full name.
        encoding: how strings written by Python 2 are decoded.
        inspect: build nothing, only note in `unknown` and `references` what the file names.

    After `load`, `unknown` holds the names that are not on the list, in the order of the file.
    """

    def __init__(self, stream, persistent_load, trusted=None, encoding="utf-8", inspect=False):
        self.stream = stream
        self.persistent_load = persistent_load
        self.trusted = trusted or {}
        self.encoding = encoding
        self.inspect = inspect
        self.unknown = {}
        self.references = []
        self.stack = []
        self.marks = []
        self.memo = {}
        self.outside = False  # in the user's code, whose errors are not the file's

    def load(self):
        """The object that the pickle describes.

        Raises pickle.UnpicklingError for names that are not allowed, and for broken data;
        EOFError where the stream ends too early.
        """
        steps, read = _STEPS, self.stream.read
        try:
            while True:
                code = read(1)
                if code == b".":
                    break
                step = steps.get(code)
                if step is None:
                    self._no_step(code)
                step(self)
            value = self.stack.pop()
        except _BROKEN as error:
            if self.outside:
                raise
            where = f" near byte {self.stream.tell()}" if self.stream.seekable() else ""
            raise pickle.UnpicklingError(
                f"broken pickle{where}: {type(error).__name__}: {error}"
            ) from error
        if self.unknown and not self.inspect:
            raise pickle.UnpicklingError(_refusal(self.unknown))
        return value

    def _no_step(self, code):
        if not code:
            raise EOFError("the pickle ends before its last instruction; the file is truncated")
        raise pickle.UnpicklingError(
            f"instruction {code!r} is not supported; this is no pickle of a checkpoint"
        )

    @property
    def foreign(self):
        """Whether from here on nothing is built any more."""
        return self.inspect or bool(self.unknown)

    def bytes(self, count):
        """The next `count` bytes; EOFError where there are fewer."""
        data = self.stream.read(count)
        if len(data) != count:
            raise EOFError("the pickle ends in the middle of a value; the file is truncated")
        return data

    def unpack(self, form):
        """The next number, in a `struct` format."""
        return struct.unpack(form, self.bytes(struct.calcsize(form)))[0]

    def line(self, encoding="utf-8"):
        """The next line without its end, as text."""
        data = self.stream.readline()
        if data[-1:] != b"\n":
            raise EOFError("the pickle ends in the middle of a name; the file is truncated")
        return data[:-1].decode(encoding)

    def since_mark(self):
        """Take what has been pushed since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def find_global(self, module, name):
        """The object of that name if it is allowed; else note the name."""
        module = _OLD_MODULES.get(module, module)
        full = _OLD_NAMES.get(f"{module}.{name}", f"{module}.{name}")
        value = ALLOWED.get(full)
        if value is None:
            value = self.trusted.get(full)
        if value is None and module.partition(".")[0] == "torch" and self.trusted:
            value = self._trusted_here(module, name)
        if value is None:
            self.unknown[full] = None
            return _FOREIGN
        return value

    def _trusted_here(self, module, name):
        """A class of Iskra's that the user trusts, under PyTorch's name for it."""
        try:
            value = find(module, name)
        except AttributeError:
            return None
        return value if any(value is t for t in self.trusted.values()) else None

    def call(self, function, arguments):
        """Call what may be called."""
        if self.foreign:
            return _FOREIGN
        if self.is_trusted(function):
            return self.leave(function, *arguments)
        if id(function) not in _CALLABLE:
            raise TypeError(f"the file calls {function!r}")
        if function is defaultdict and not _is_factory(arguments):
            raise TypeError("the file makes a defaultdict with an unknown factory")
        return function(*arguments)

    def leave(self, function, *arguments):
        """Call the user's code, and let its errors through as they are."""
        self.outside = True
        result = function(*arguments)
        self.outside = False
        return result

    def is_trusted(self, value):
        """Whether the user vouches for this very object."""
        return any(value is t for t in self.trusted.values())

    def make(self, cls, arguments, keywords):
        """An instance without a call of its `__init__`."""
        if self.foreign:
            return _FOREIGN
        if not isinstance(cls, type) or not (cls is OrderedDict or self.is_trusted(cls)):
            raise TypeError(f"the file makes an instance of {cls!r}")
        return cls.__new__(cls, *arguments, **keywords)

    def set_state(self, instance, state):
        """What `pickle` does with an object's state, for objects whose class is allowed."""
        cls = type(instance)
        if self.foreign:
            return
        if cls is not OrderedDict and not self.is_trusted(cls) or isinstance(instance, Tensor):
            raise TypeError(f"the file sets the state of a {cls.__name__}")
        setstate = getattr(instance, "__setstate__", None)
        if setstate is not None:
            self.leave(setstate, state)
            return
        state, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
        if state:
            instance.__dict__.update(state)
        for name, value in (slots or {}).items():
            setattr(instance, name, value)

    def container(self, target, *kinds):
        """`target` if the file may put things into it; None where nothing is built any more."""
        if self.foreign:
            return None
        if type(target) not in kinds and not self.is_trusted(type(target)):
            raise TypeError(f"the file fills a {type(target).__name__}")
        return target


# What broken or hostile data may raise on the way; MemoryError from a length that is a lie.
_BROKEN = (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error,
           OverflowError, MemoryError, RecursionError)


def _is_factory(arguments):
    return not arguments or any(arguments[0] is f for f in (None, list, dict, int, float, set, str))


def _refusal(unknown):
    """The message for names that are not allowed: all of them, and what to do."""
    prefix = naming.prefix()
    names = list(unknown)
    ours = [n for n in names if n.partition(".")[0] != "torch" or _exists(n)]
    lines = [
        "load: the file names what loading with weights_only=True does not allow: "
        + ", ".join(names) + "."
    ]
    if ours:
        lines.append(
            f"If you trust these, name them: `with {prefix}.serialization.safe_globals(["
            + ", ".join(ours) + "]): ...` or add_safe_globals([...])."
        )
    if len(ours) < len(names):
        missing = ", ".join(n for n in names if n not in ours)
        lines.append(f"Iskra has nothing that corresponds to {missing}.")
    lines.append(
        "Only if you trust the source of the whole file: weights_only=False, which runs whatever "
        "code the file holds."
    )
    return "\n".join(lines)


def _exists(full):
    module, _, name = full.rpartition(".")
    try:
        find(module, name)
    except AttributeError:
        return False
    return True


# --- one function per instruction

_STEPS = {}


def _step(*codes):
    def register(function):
        _STEPS.update(dict.fromkeys(codes, function))
        return function

    return register


def _push(code, read):
    """An instruction that pushes one value."""
    _STEPS[code] = lambda vm: vm.stack.append(read(vm))


_push(pickle.NONE, lambda vm: None)
_push(pickle.NEWTRUE, lambda vm: True)
_push(pickle.NEWFALSE, lambda vm: False)
_push(pickle.BININT, lambda vm: vm.unpack("<i"))
_push(pickle.BININT1, lambda vm: vm.bytes(1)[0])
_push(pickle.BININT2, lambda vm: vm.unpack("<H"))
_push(pickle.LONG1, lambda vm: pickle.decode_long(vm.bytes(vm.bytes(1)[0])))
_push(pickle.LONG4, lambda vm: pickle.decode_long(vm.bytes(vm.unpack("<I"))))
_push(pickle.LONG, lambda vm: int(vm.line().removesuffix("L")))
_push(pickle.FLOAT, lambda vm: float(vm.line()))
_push(pickle.BINFLOAT, lambda vm: vm.unpack(">d"))
_push(pickle.BINUNICODE, lambda vm: str(vm.bytes(vm.unpack("<I")), "utf-8", "surrogatepass"))
_push(pickle.SHORT_BINUNICODE, lambda vm: str(vm.bytes(vm.bytes(1)[0]), "utf-8", "surrogatepass"))
_push(pickle.BINUNICODE8, lambda vm: str(vm.bytes(vm.unpack("<Q")), "utf-8", "surrogatepass"))
_push(pickle.UNICODE, lambda vm: vm.line("raw-unicode-escape"))
_push(pickle.BINBYTES, lambda vm: vm.bytes(vm.unpack("<I")))
_push(pickle.SHORT_BINBYTES, lambda vm: vm.bytes(vm.bytes(1)[0]))
_push(pickle.BINBYTES8, lambda vm: vm.bytes(vm.unpack("<Q")))
_push(pickle.BYTEARRAY8, lambda vm: bytearray(vm.bytes(vm.unpack("<Q"))))
_push(pickle.BINSTRING, lambda vm: _text(vm, vm.bytes(vm.unpack("<i"))))
_push(pickle.SHORT_BINSTRING, lambda vm: _text(vm, vm.bytes(vm.bytes(1)[0])))
_push(pickle.EMPTY_LIST, lambda vm: [])
_push(pickle.EMPTY_TUPLE, lambda vm: ())
_push(pickle.EMPTY_DICT, lambda vm: {})
_push(pickle.EMPTY_SET, lambda vm: set())
_push(pickle.LIST, lambda vm: vm.since_mark())
_push(pickle.TUPLE, lambda vm: tuple(vm.since_mark()))
_push(pickle.FROZENSET, lambda vm: _frozen(vm, vm.since_mark()))
_push(pickle.DICT, lambda vm: _pairs(vm, vm.since_mark()))
_push(pickle.GLOBAL, lambda vm: vm.find_global(vm.line(), vm.line()))
_push(pickle.DUP, lambda vm: vm.stack[-1])
_push(pickle.GET, lambda vm: vm.memo[int(vm.line())])
_push(pickle.BINGET, lambda vm: vm.memo[vm.bytes(1)[0]])
_push(pickle.LONG_BINGET, lambda vm: vm.memo[vm.unpack("<I")])


def _text(vm, data):
    return data if vm.encoding == "bytes" else data.decode(vm.encoding)


def _pairs(vm, items):
    return {} if vm.foreign else dict(zip(items[::2], items[1::2], strict=True))


def _frozen(vm, items):
    return frozenset() if vm.foreign else frozenset(items)


@_step(pickle.INT)
def _int(vm):
    text = vm.line()
    vm.stack.append({"00": False, "01": True}[text] if text in ("00", "01") else int(text))


@_step(pickle.PROTO)
def _proto(vm):
    version = vm.bytes(1)[0]
    if version > pickle.HIGHEST_PROTOCOL:
        raise ValueError(f"unsupported pickle protocol: {version}")


@_step(pickle.FRAME)
def _frame(vm):
    vm.bytes(8)  # the length only helps to read ahead


@_step(pickle.MARK)
def _mark(vm):
    vm.marks.append(len(vm.stack))


@_step(pickle.POP)
def _pop(vm):
    if vm.marks and vm.marks[-1] == len(vm.stack):
        vm.marks.pop()
    else:
        vm.stack.pop()


@_step(pickle.POP_MARK)
def _pop_mark(vm):
    vm.since_mark()


@_step(pickle.PUT)
def _put(vm):
    vm.memo[int(vm.line())] = vm.stack[-1]


@_step(pickle.BINPUT)
def _binput(vm):
    vm.memo[vm.bytes(1)[0]] = vm.stack[-1]


@_step(pickle.LONG_BINPUT)
def _long_binput(vm):
    vm.memo[vm.unpack("<I")] = vm.stack[-1]


@_step(pickle.MEMOIZE)
def _memoize(vm):
    vm.memo[len(vm.memo)] = vm.stack[-1]


def _tuple_of(count):
    def step(vm):
        items = tuple(vm.stack[-count:])
        if len(items) != count:
            raise IndexError("stack underflow")
        vm.stack[-count:] = [items]

    return step


_STEPS[pickle.TUPLE1] = _tuple_of(1)
_STEPS[pickle.TUPLE2] = _tuple_of(2)
_STEPS[pickle.TUPLE3] = _tuple_of(3)


@_step(pickle.APPEND)
def _append(vm):
    _extend(vm, [vm.stack.pop()])


@_step(pickle.APPENDS)
def _appends(vm):
    _extend(vm, vm.since_mark())


def _extend(vm, items):
    target = vm.container(vm.stack[-1], list)
    if target is not None:
        target.extend(items)


@_step(pickle.ADDITEMS)
def _additems(vm):
    items = vm.since_mark()
    target = vm.container(vm.stack[-1], set)
    if target is not None:
        target.update(items)


@_step(pickle.SETITEM)
def _setitem(vm):
    value = vm.stack.pop()
    _set_items(vm, [vm.stack.pop(), value])


@_step(pickle.SETITEMS)
def _setitems(vm):
    _set_items(vm, vm.since_mark())


def _set_items(vm, items):
    target = vm.container(vm.stack[-1], dict, OrderedDict, Counter, defaultdict)
    if target is not None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value


@_step(pickle.STACK_GLOBAL)
def _stack_global(vm):
    name, module = vm.stack.pop(), vm.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise TypeError("a name that is no text")
    vm.stack.append(vm.find_global(module, name))


@_step(pickle.REDUCE)
def _reduce(vm):
    arguments = vm.stack.pop()
    function = vm.stack.pop()
    vm.stack.append(vm.call(function, arguments))


@_step(pickle.NEWOBJ)
def _newobj(vm):
    arguments = vm.stack.pop()
    vm.stack.append(vm.make(vm.stack.pop(), arguments, {}))


@_step(pickle.NEWOBJ_EX)
def _newobj_ex(vm):
    keywords, arguments = vm.stack.pop(), vm.stack.pop()
    vm.stack.append(vm.make(vm.stack.pop(), arguments, keywords))


@_step(pickle.INST)
def _inst(vm):
    cls = vm.find_global(vm.line(), vm.line())
    vm.stack.append(vm.call(cls, vm.since_mark()))


@_step(pickle.OBJ)
def _obj(vm):
    cls, *arguments = vm.since_mark()
    vm.stack.append(vm.call(cls, arguments))


@_step(pickle.BUILD)
def _build(vm):
    state = vm.stack.pop()
    vm.set_state(vm.stack[-1], state)


@_step(pickle.BINPERSID)
def _binpersid(vm):
    reference = vm.stack.pop()
    vm.references.append(reference)
    vm.stack.append(_FOREIGN if vm.foreign else vm.leave(vm.persistent_load, reference))


def unknown_names(stream):
    """The names in a pickle that `SafeUnpickler` would not allow, in order."""
    unpickler = SafeUnpickler(stream, None, inspect=True)
    unpickler.load()
    return list(unpickler.unknown)


def loads(data, persistent_load, **options):
    """`SafeUnpickler` on bytes."""
    return SafeUnpickler(io.BytesIO(data), persistent_load, **options).load()
