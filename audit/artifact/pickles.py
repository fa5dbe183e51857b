"""A pickle machine that calls nothing.

It follows a pickle's instructions and builds descriptions: names stay names, tensors become
references into the file's storages. A call is carried out for none but torch's tensor rebuilders
and plain containers, and then by code of this file. Anything else is named and refused.

The base is the standard library's own machine, of which every instruction that would call, hash or
import something is replaced.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar


class Refused(Exception):
    """The file is not opened; the message says what it is, what is wrong and what to do."""


class Damaged(Refused):
    """The file contradicts itself: not opened even when trusted."""


@dataclass(frozen=True)
class Name:
    """A global that the pickle mentions; never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Plain:
    """An object that was constructed without any call of its own code."""

    cls: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Storage:
    """Numbers that tensors of the file share: where they lie, of what type, how many."""

    key: str
    dtype: str
    numel: int


@dataclass(frozen=True)
class TensorRef:
    """A strided view into a storage of the file."""

    storage: Storage
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        count = 1
        for extent in self.size:
            count *= extent
        return count


@dataclass(frozen=True)
class Unsupported:
    """A tensor in a layout that has no contiguous strided form."""

    layout: str


# torch's storage classes and dtypes → safetensors' names; the number is bytes an element.
DTYPES = {
    "float64": ("F64", 8),
    "float32": ("F32", 4),
    "float16": ("F16", 2),
    "bfloat16": ("BF16", 2),
    "int64": ("I64", 8),
    "int32": ("I32", 4),
    "int16": ("I16", 2),
    "int8": ("I8", 1),
    "uint8": ("U8", 1),
    "uint16": ("U16", 2),
    "uint32": ("U32", 4),
    "uint64": ("U64", 8),
    "bool": ("BOOL", 1),
    "complex64": ("C64", 8),
    "float8_e4m3fn": ("F8_E4M3", 1),
    "float8_e5m2": ("F8_E5M2", 1),
}
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "UntypedStorage": "uint8",
}

CONTAINERS = frozenset(
    f"{module}.{name}"
    for module in ("builtins", "__builtin__")
    for name in ("set", "frozenset", "list", "dict", "tuple", "slice", "complex", "bytearray")
) | {
    "torch.Size",
    "torch.device",
    "collections.Counter",
    "collections.deque",
    "torch.jit._pickle.build_intlist",
    "torch.jit._pickle.build_doublelist",
    "torch.jit._pickle.build_boollist",
    "torch.jit._pickle.build_tensorlist",
}
ORDERED = frozenset({"collections.OrderedDict", "collections.defaultdict"})
UNSEEN = frozenset(f"torch.nn.parameter.Uninitialized{kind}" for kind in ("Parameter", "Buffer"))
RECONSTRUCTORS = frozenset({"copyreg._reconstructor", "copy_reg._reconstructor"})
NOT_TORCHS = "a tensor is described in a way that torch does not write"
SCALARS = (str, int, float, bool, bytes, type(None))

ADVICE = {
    "numpy": "it holds numpy values; save them as Python numbers, or the weights alone with "
    "torch.save(model.state_dict(), path)",
    "pathlib": "it holds paths; save them as strings, or the weights alone with "
    "torch.save(model.state_dict(), path)",
    "datetime": "it holds dates; save them as strings, or the weights alone with "
    "torch.save(model.state_dict(), path)",
}


def strided(
    storage: Any, offset: Any, size: Any, stride: Any, *, dtype: str
) -> TensorRef | Unsupported:
    """A tensor as a view of its storage; of a type that is not read, only that it is one.

    Raises:
        Damaged, TypeError, AttributeError, IndexError: it is not described as torch does.
    """
    if isinstance(size, Plain):
        size = size.arguments[0]
    whole = all(isinstance(i, int) and i >= 0 for i in (offset, *size, *stride))
    if not isinstance(storage, Storage) or not whole or len(size) != len(stride):
        raise Damaged(NOT_TORCHS)
    if dtype not in DTYPES:
        return Unsupported(dtype)
    return TensorRef(storage, dtype, offset, tuple(size), tuple(stride))


def refuse_call(name: Name) -> Refused:
    """The error for a call that a pickle asks for and that is not made, with advice for its library."""
    advice = ADVICE.get(name.module.split(".")[0])
    if advice is None:
        advice = (
            "nothing was run; save plain tensors alone, as torch.save(model.state_dict(), path) does "
            "of plain modules, or pass --trust if you trust whoever made the file"
        )
    return Refused(f"its pickle calls {name}, which is no tensor rebuilder: {advice}")


class Machine(pickle._Unpickler):
    """See the module's docstring. One instance reads one pickle."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    readline: Callable[[], bytes]

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self.names: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        found = Name(str(module), str(name))
        self.names.add(str(found))
        return found

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or not pid:
            raise Damaged("its pickle refers to something outside the file")
        if pid[0] == "module" and len(pid) >= 2 and isinstance(pid[1], Name):
            return pid[1]  # legacy: the class with its source; the source is not read
        if pid[0] != "storage" or len(pid) < 5 or not isinstance(pid[1], Name):
            raise Damaged("its pickle refers to a storage in a way that torch does not write")
        kind, key, numel = pid[1].name, pid[2], pid[4]
        if kind not in STORAGES:
            if kind.startswith("Q"):
                raise Refused(
                    f"it holds quantised tensors ({kind}), which have no plain form; save the "
                    "state_dict of the float model, from before it was converted"
                )
            raise Refused(
                f"it holds tensors in a {kind}, which have no plain form; save a float state_dict"
            )
        if not isinstance(numel, int) or numel < 0:
            raise Damaged("a storage declares no size")
        return Storage(str(key), STORAGES[kind], numel)

    # Everything that would call something

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], arguments)

    def call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Damaged("its pickle calls something that is no name")
        full = str(function)
        if full.startswith(("torch._utils._rebuild", "torch._tensor._rebuild")):
            return self.rebuild(function, arguments)
        if full in UNSEEN:
            return Unsupported("uninitialised")
        if full in ORDERED:
            return self.ordered(arguments if full.endswith("OrderedDict") else ())
        if full in CONTAINERS:
            return Plain(function, arguments)
        first = arguments[0] if arguments else None
        if full in RECONSTRUCTORS and isinstance(first, Name):
            return Plain(first)
        if full == "_codecs.encode" and isinstance(first, str):
            return first.encode("latin1", "replace")
        if full == "torch.jit._pickle.restore_type_tag":
            return arguments[0]
        if full == "torch.serialization._get_layout":
            return function
        raise refuse_call(function)

    def ordered(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for pair in arguments[0] if arguments else ():
            self.put(made, pair[0], pair[1])
        return made

    def rebuild(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        kind = function.name
        try:
            if kind == "_rebuild_parameter" or kind == "_rebuild_parameter_with_state":
                return arguments[0]
            if kind == "_rebuild_from_type_v2":
                return self.call(arguments[0], arguments[2])
            if kind in ("_rebuild_tensor", "_rebuild_tensor_v2"):
                return strided(*arguments[:4], dtype=arguments[0].dtype)
            if kind == "_rebuild_tensor_v3":
                return strided(*arguments[:4], dtype=arguments[6].name)
        except (AttributeError, IndexError, TypeError, ValueError):
            raise Damaged(NOT_TORCHS) from None
        for layout in ("sparse", "qtensor", "nested", "meta"):
            if layout in kind:
                return Unsupported("quantised" if layout == "qtensor" else layout)
        raise refuse_call(function)

    def construct(self, cls: Any, arguments: Any) -> Plain:
        if not isinstance(cls, Name):
            raise Damaged("its pickle constructs something that is no class")
        return Plain(cls, tuple(arguments) if isinstance(arguments, (tuple, list)) else ())

    def load_newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.construct(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_newobj()

    def load_inst(self) -> None:
        module = self.readline()[:-1].decode("ascii", "replace")
        name = self.readline()[:-1].decode("ascii", "replace")
        raise refuse_call(self.find_class(module, name))

    def load_obj(self) -> None:
        items = self.pop_mark()
        cls = items[0] if items else None
        raise refuse_call(cls if isinstance(cls, Name) else Name("?", "?"))

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Plain):
            target.state = state
        elif not isinstance(target, dict):  # an OrderedDict's attributes (`_metadata`) are not read
            raise Damaged("its pickle sets the state of something that has none")

    def get_extension(self, code: int) -> None:
        raise Refused(
            f"its pickle uses the extension code {code}, which this machine does not know"
        )

    # Everything that would hash a key

    def put(self, target: Any, key: Any, value: Any) -> None:
        entries = target.entries if isinstance(target, Plain) else target
        if not isinstance(entries, dict):
            raise Damaged("its pickle sets an item of something that has none")
        if not isinstance(key, SCALARS):
            if isinstance(target, Plain):
                target.items.append((key, value))
                return
            raise Refused(
                f"a dictionary in it has a {type(key).__name__} as key, which no state_dict has; "
                "save the weights alone with torch.save(model.state_dict(), path)"
            )
        if key in entries:
            raise Damaged(f"the key {str(key)[:60]!r} occurs twice, so its content is ambiguous")
        entries[key] = value

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.put(self.stack[-1], key, value)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.put(self.stack[-1], key, value)

    def load_dict(self) -> None:
        items = self.pop_mark()
        made: dict[Any, Any] = {}
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.put(made, key, value)
        self.append(made)

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Plain):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        else:
            raise Damaged("its pickle appends to something that is no list")

    def load_append(self) -> None:
        self.extend([self.stack.pop()])

    def load_appends(self) -> None:
        self.extend(self.pop_mark())

    def load_empty_set(self) -> None:
        self.append(Plain(Name("builtins", "set")))

    def load_additems(self) -> None:
        self.extend(self.pop_mark())

    def load_frozenset(self) -> None:
        self.append(Plain(Name("builtins", "frozenset"), (self.pop_mark(),)))


for _code, _method in {
    pickle.REDUCE: Machine.load_reduce,
    pickle.NEWOBJ: Machine.load_newobj,
    pickle.NEWOBJ_EX: Machine.load_newobj_ex,
    pickle.INST: Machine.load_inst,
    pickle.OBJ: Machine.load_obj,
    pickle.BUILD: Machine.load_build,
    pickle.SETITEM: Machine.load_setitem,
    pickle.SETITEMS: Machine.load_setitems,
    pickle.DICT: Machine.load_dict,
    pickle.APPEND: Machine.load_append,
    pickle.APPENDS: Machine.load_appends,
    pickle.EMPTY_SET: Machine.load_empty_set,
    pickle.ADDITEMS: Machine.load_additems,
    pickle.FROZENSET: Machine.load_frozenset,
}.items():
    Machine.dispatch[_code[0]] = _method


def read_pickle(file: BinaryIO) -> tuple[Any, set[str]]:
    """Follow one pickle.

    Returns:
        (the description of its object, the names of all globals it mentions).

    Raises:
        Refused: it calls what it may not call, or is broken.
    """
    machine = Machine(file)
    try:
        return machine.load(), machine.names
    except Refused:
        raise
    except MemoryError:
        raise Refused(
            "following its pickle takes more memory than the file's size allows"
        ) from None
    except Exception as error:  # noqa: BLE001 - a hostile pickle may break the machine anywhere
        raise Damaged(
            f"its pickle is truncated or not a pickle ({type(error).__name__}: {str(error)[:80]})"
        ) from None
