"""The child process that reads an untrusted file, started by `opening`.

It imports no torch, limits its own memory and time, runs nothing of the file, and writes
`OUT/weights.safetensors` and `OUT/description.json`.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit.artifact.pickles import (
    DTYPES,
    Damaged,
    Plain,
    Refused,
    Storage,
    TensorRef,
    Unsupported,
    read_pickle,
)
from audit.artifact.state import Endless, Held, class_names, collect, default, joined

MAGIC = 0x1950A86A20F9469CFC6C
WIDTHS = dict(DTYPES.values())
MOST_AXES = 64  # torch allows no more
RESAVE = "save it again with torch.save(model.state_dict(), path)"
DENSE = {
    "uninitialised": "the lazy model was saved before its first input: pass a batch through it, train "
    "it, then save it",
    "quantised": "save the state_dict of the float model, from before it was converted",
    "meta": "it was saved before its weights were loaded: load them, then save it again",
}
OTHERS = (
    (b"\x89HDF", "an HDF5 file (Keras?)"),
    (b"GGUF", "a GGUF file"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"<!DOCTYPE", "a web page, perhaps a failed download"),
    (b"<html", "a web page, perhaps a failed download"),
)


def limit_memory(size: int) -> None:
    """1 GB and three times what the file holds."""
    try:
        import resource
    except ImportError:  # not a POSIX system: the deadline alone holds
        return
    limit = (1 << 30) + 3 * size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def sniff(path: Path, size: int) -> str:
    """The format, by content: 'zip', 'safetensors', 'pickle'.

    Raises:
        Refused: it is something else; the message says what.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    for magic, what in OTHERS:
        if head.startswith(magic):
            raise Refused(f"it is {what}; {RESAVE}")
    if head[257:262] == b"ustar":
        raise Refused(f"it is a tar archive, torch's format of before 2017; {RESAVE}")
    if len(head) >= 9:
        (length,) = struct.unpack("<Q", head[:8])
        if head[8:9] == b"{":
            if length > size - 8:
                raise Damaged("it is a safetensors file whose header is cut off; copy it again")
            return "safetensors"
    if head[:1] in (b"\x80", b"c", b"(", b"}", b"]"):
        return "pickle"
    raise Refused(
        "it is no format that holds PyTorch weights (torch.save, safetensors, TorchScript, "
        "torch.export)"
    )


def repeated(names: list[str]) -> str | None:
    """The first name that occurs again."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def counts(value: Any) -> bool:
    """Is it a whole number from 0 on?"""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def leads_out(name: str) -> bool:
    """Would a member of that name be unpacked outside the folder that it is unpacked in?"""
    plain = name.replace("\\", "/")
    return plain.startswith("/") or plain[1:2] == ":" or ".." in plain.split("/")


def read_safetensors(path: Path, size: int) -> dict[str, Any]:
    """Check the header; the tensors are already plain.

    Raises:
        Damaged: names occur twice, or offsets overlap or leave the file.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        try:
            header = json.loads(file.read(length), object_pairs_hook=each_once)
        except (ValueError, RecursionError):
            raise Damaged("its safetensors header is not JSON; copy the file again") from None
    if not isinstance(header, dict):
        raise Damaged("its safetensors header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not header:
        raise Refused(f"it holds no tensors; {RESAVE}")
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise Damaged("its safetensors metadata are not texts by name")
    try:
        end = end_of_tensors(header)
    except (KeyError, TypeError, ValueError):
        raise Damaged("its safetensors header does not describe tensors") from None
    if end != size - 8 - length:
        raise Damaged(
            f"it declares {end} bytes of tensors and holds {size - 8 - length}; copy it again"
        )
    held = {"path": "", "names": list(header), "listed": False, "mostly": True, "cls": ""}
    described: dict[str, Any] = {"format": "safetensors", "tensors": len(header), "aliases": {}}
    described.update(held=[held], classes={})
    try:
        ours = json.loads(metadata["audit"]) if "audit" in metadata else None
    except (ValueError, TypeError):
        raise Damaged("its `audit` metadata is not JSON") from None
    if ours is not None:
        described.update(format="audit-model safetensors", checkpoint=ours)
        described["aliases"] = ours.get("aliases", {}) if isinstance(ours, dict) else {}
    return described


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose keys are all different.

    Raises:
        Damaged: one occurs twice.
    """
    twice = repeated([name for name, _ in pairs])
    if twice is not None:
        raise Damaged(f"the key {twice[:60]!r} occurs twice, so its content is ambiguous")
    return dict(pairs)


def end_of_tensors(header: dict[str, Any]) -> int:
    """Where the last tensor of a safetensors header ends; they lie one behind the other.

    Raises:
        Damaged: they overlap, leave gaps, or have another size than their shape.
        KeyError, TypeError, ValueError: what is described is no tensor.
    """
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        if not all(counts(i) for i in (start, stop, *entry["shape"])):
            raise Damaged(f"the tensor {name[:60]!r} has a size or place that is no whole number")
        if start != end or stop < start:
            raise Damaged(f"the tensor {name[:60]!r} overlaps another or leaves a gap")
        needed = math.prod(entry["shape"]) * WIDTHS.get(entry["dtype"], 0)
        if entry["dtype"] in WIDTHS and needed != stop - start:
            raise Damaged(
                f"the tensor {name[:60]!r} of shape {entry['shape'][:6]} needs {needed:,} bytes "
                f"and has {stop - start:,}"
            )
        end = stop
    return end


class Storages:
    """The bytes of the file's storages, by key."""

    def __init__(self) -> None:
        self.found: dict[str, memoryview] = {}

    def view(self, storage: Storage) -> memoryview:
        if storage.key not in self.found:
            raise Damaged(f"the storage {storage.key!r} is missing; the file is cut off")
        return self.found[storage.key]


def read_zip(path: Path, size: int) -> tuple[Any, set[str], Storages, str]:
    """A torch zip: its object, the names it mentions, its storages, and the format."""
    try:
        archive = zipfile.ZipFile(path)
        members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        raise Damaged("it begins as a zip archive and is cut off; copy it again") from None
    check_members(members, size)
    names = [member.filename for member in members]
    main = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if not main:
        raise Refused(f"it is a zip archive without torch's data.pkl; {RESAVE}")
    root = main[0].removesuffix("data.pkl")
    script = any(name.startswith(f"{root}code/") for name in names)
    storages = Storages()
    try:
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder").strip() == b"big":
            raise Refused(f"it was written on a big-endian machine; {RESAVE}")
        with archive.open(main[0]) as file:
            described, mentioned = read_pickle(file)  # type: ignore[arg-type]
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                continue
            content = archive.read(member)  # checks the CRC
            if member.filename.startswith(f"{root}data/"):
                key = member.filename.removeprefix(f"{root}data/")
                storages.found[key] = memoryview(content)
    except zipfile.BadZipFile as error:
        raise Damaged(
            f"its content does not match its checksums ({error}); copy it again"
        ) from None
    return described, mentioned, storages, "TorchScript" if script else "torch zip"


def check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse an archive that torch did not write, before anything in it is read.

    Raises:
        Refused: see its message.
    """
    names = [member.filename for member in members]
    twice = repeated(names)
    if twice is not None:
        raise Damaged(f"the member {twice[:60]!r} occurs twice, so its content is ambiguous")
    outside = next((name for name in names if leads_out(name)), None)
    if outside is not None:
        raise Damaged(f"its member {outside[:60]!r} leads out of the archive, as torch's never do")
    # TorchScript compresses its code, which is never read here; tensors are always stored plainly.
    read = [m for m in members if "/data/" in m.filename or m.filename.endswith("/data.pkl")]
    if any(member.compress_type != zipfile.ZIP_STORED for member in read):
        total = sum(member.file_size for member in read)
        raise Refused(
            f"it is a compressed archive that declares {total:,} bytes in a file of {size:,}, and "
            f"torch never compresses tensors; {RESAVE}"
        )
    if sum(member.file_size for member in read) > size:
        raise Damaged("it declares more bytes than the file holds")
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        raise Refused(
            "it is a torch.export program, which can be opened only by running it; pass --trust if "
            f"you trust whoever made it, or {RESAVE}"
        )


def read_legacy(path: Path, size: int) -> tuple[Any, set[str], Storages, str]:
    """A pickle stream: torch's format of before 1.6, or a bare pickle."""
    with path.open("rb") as file:
        first, mentioned = read_pickle(file)
        if first != MAGIC:
            return first, mentioned, Storages(), "pickle"
        read_pickle(file)
        read_pickle(file)
        described, mentioned = read_pickle(file)
        keys, _ = read_pickle(file)
        storages = Storages()
        if not isinstance(keys, list):
            raise Damaged("it lists no storages; copy it again")
        sizes = {ref.storage.key: DTYPES[ref.storage.dtype][1] for ref in tensors_in(described)}
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = file.tell()
            for key in keys:
                if at + 8 > size:
                    raise Damaged("it is cut off before its last tensor; copy it again")
                (numel,) = struct.unpack("<q", content[at : at + 8])
                length = numel * sizes.get(str(key), 1)
                if numel < 0 or at + 8 + length > size:
                    raise Damaged("it is cut off before its last tensor; copy it again")
                storages.found[str(key)] = memoryview(content[at + 8 : at + 8 + length])
                at += 8 + length
    return described, mentioned, storages, "torch legacy"


def tensors_in(root: Any) -> list[TensorRef]:
    """All tensors in a described object."""
    found, todo, seen = [], [root], set()
    while todo:
        item = todo.pop()
        if isinstance(item, TensorRef):
            found.append(item)
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, (list, tuple)):
            todo.extend(item)
        elif isinstance(item, Plain):
            todo.extend([*item.arguments, item.state, *item.items, *item.entries.values()])
    return found


def lift(root: Plain, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Parameters and buffers of a pickled module, by the names that its state_dict would have."""
    state: dict[str, Any] = {}
    attributes = root.state if isinstance(root.state, dict) else {}
    if depth > 100:
        raise Refused("its modules are nested more than 100 deep")
    eager = "_parameters" in attributes
    transient = attributes.get("_non_persistent_buffers_set")
    hidden = set()
    if isinstance(transient, Plain):
        hidden = {
            i
            for part in (*transient.arguments, transient.items)
            if isinstance(part, list)
            for i in part
            if isinstance(i, str)
        }
    groups = [attributes.get("_parameters"), attributes.get("_buffers")] if eager else [attributes]
    for group in groups:
        entries = group.entries if isinstance(group, Plain) else group
        for name, value in (entries or {}).items():
            if isinstance(value, (TensorRef, Unsupported)) and name not in hidden:
                state[f"{prefix}{name}"] = value
    children = attributes.get("_modules") if eager else attributes
    entries = children.entries if isinstance(children, Plain) else children
    for name, child in (entries or {}).items():
        if isinstance(child, Plain):
            state.update(lift(child, f"{prefix}{name}.", depth + 1))
    return state


def gather(ref: TensorRef, storages: Storages, file_size: int) -> bytes:
    """The tensor's elements, contiguous.

    Raises:
        Damaged: it reaches beyond its storage, or declares far more than the file holds.
    """
    width = DTYPES[ref.dtype][1]
    view = storages.view(ref.storage)
    declared = ref.storage.numel * DTYPES[ref.storage.dtype][1]
    if declared > len(view):
        raise Damaged(
            f"the storage {ref.storage.key[:60]!r} declares {declared:,} bytes and holds {len(view):,}"
        )
    if len(ref.size) > MOST_AXES:
        raise Damaged(f"a tensor has {len(ref.size):,} axes")
    if ref.numel == 0:
        return b""
    last = ref.offset + sum((s - 1) * t for s, t in zip(ref.size, ref.stride, strict=True))
    if ref.numel * width > file_size + (1 << 20):
        raise Damaged(
            f"a tensor of shape {list(ref.size)[:6]} declares {ref.numel * width:,} bytes in a file "
            f"of {file_size:,}"
        )
    if (last + 1) * width > len(view):
        raise Damaged("a tensor reaches beyond its storage; the file is cut off or forged")
    contiguous, expected = True, 1
    for extent, step in zip(reversed(ref.size), reversed(ref.stride), strict=True):
        if extent != 1:
            contiguous = contiguous and step == expected
            expected *= extent
    if contiguous:
        start = ref.offset * width
        return bytes(view[start : start + ref.numel * width])
    import numpy as np

    flat = np.frombuffer(view, dtype=f"V{width}", count=len(view) // width)[ref.offset :]
    strides = [step * width for step in ref.stride]
    return np.lib.stride_tricks.as_strided(flat, ref.size, strides).tobytes()


def write_safetensors(
    path: Path, state: dict[str, TensorRef], storages: Storages, file_size: int
) -> dict[str, str]:
    """Write each distinct tensor once.

    Returns:
        names that are aliases → the name that was written.
    """
    first: dict[TensorRef, str] = {}
    aliases: dict[str, str] = {}
    header: dict[str, Any] = {}
    at = 0
    for name, ref in state.items():
        if ref in first:
            aliases[name] = first[ref]
            continue
        first[ref] = name
        length = ref.numel * DTYPES[ref.dtype][1]
        header[name] = {
            "dtype": DTYPES[ref.dtype][0],
            "shape": list(ref.size),
            "data_offsets": [at, at + length],
        }
        at += length
    if at > 3 * file_size + (1 << 20):
        raise Damaged(f"its tensors declare {at:,} bytes in a file of {file_size:,}")
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)))
        file.write(encoded)
        for ref in first:
            file.write(gather(ref, storages, file_size))
    return aliases


def plain_json(value: Any, depth: int = 0) -> Any:
    """Numbers, strings, lists and dictionaries of a described object; other things by their type."""
    if depth > 20:
        return None
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [plain_json(v, depth + 1) for v in value]
    if isinstance(value, dict):
        return {str(k): plain_json(v, depth + 1) for k, v in value.items()}
    return None


def read(path: Path, out: Path, *, data: bool = False) -> dict[str, Any]:
    """Describe the file and write its tensors.

    Args:
        data: it holds samples, not a model.

    Raises:
        Refused: see its message.
    """
    size = path.stat().st_size
    kind = sniff(path, size)
    if kind == "safetensors":
        return read_safetensors(path, size)
    root, _, storages, form = (read_zip if kind == "zip" else read_legacy)(path, size)
    if form == "pickle" and not tensors_in(root):
        what = f"of {root.cls}, not written by torch.save" if isinstance(root, Plain) else ""
        raise Refused(f"it is a bare pickle {what or 'without tensors'}; {RESAVE}")
    try:
        held = collect(root, is_tensor, lambda _, value: opened(value, form))
    except Endless:
        raise Damaged("its dictionaries refer to each other without end") from None
    if data:
        described = {"format": form, **beside_tensors(root)}
        held = [Held("", {"": root})] if is_tensor(root) else held
    else:
        described = describe(root, form, held)
    described["classes"] = class_names(root, attributes)
    described["held"] = [
        {
            "path": part.path,
            "names": list(part.tensors),
            "listed": part.listed,
            "mostly": part.mostly,
            "cls": part.cls,
        }
        for part in held
    ]
    state: dict[str, Any] = {}
    for part in held:
        for name, ref in part.tensors.items():
            whole = joined(part.path, name)
            if isinstance(ref, Unsupported):
                raise Refused(
                    f"its tensor {whole!r} is {ref.layout}, which has no plain strided form; "
                    f"{DENSE.get(ref.layout, 'save a dense float state_dict')}"
                )
            if whole in state:
                raise Damaged(f"two of its tensors are called {whole[:60]!r}")
            state[whole] = ref
    described["tensors"] = len(state)
    described["aliases"] = write_safetensors(out / "weights.safetensors", state, storages, size)
    return described


def is_tensor(value: Any) -> bool:
    """Is it a tensor's description?"""
    return isinstance(value, (TensorRef, Unsupported))


def opened(value: Any, form: str) -> Held | Mapping[Any, Any] | None:
    """What an object of the file holds: a module's weights, or else its attributes."""
    if not isinstance(value, Plain):
        return None
    state = value.state
    if isinstance(state, dict) and (form == "TorchScript" or "_modules" in state):
        return Held("", lift(value), cls=str(value.cls))
    return attributes(value)


def attributes(value: Any) -> Mapping[Any, Any] | None:
    """Of an object that is no dictionary, its entries or attributes."""
    if not isinstance(value, Plain):
        return None
    return value.entries or (value.state if isinstance(value.state, dict) else None)


def beside_tensors(root: Any) -> dict[str, Any]:
    """Of a file of samples, its lists of numbers or texts by key, and the keys of all other things."""
    lists, others = {}, []
    pairs = root.items() if isinstance(root, dict) else enumerate(root) if in_row(root) else ()
    for key, value in pairs:
        if in_row(value) and value and all(isinstance(v, (str, int, float)) for v in value):
            lists[str(key)] = list(value)
        elif not is_tensor(value):
            others.append(str(key))
    return {"lists": lists, "others": others}


def in_row(value: Any) -> bool:
    """Is it a list or tuple?"""
    return isinstance(value, (list, tuple))


def describe(root: Any, form: str, held: list[Held]) -> dict[str, Any]:
    """What a model file is.

    Raises:
        Refused: no weights were found in it.
    """
    found = default([part for part in held if part.tensors])
    if found is None:
        if isinstance(root, Plain):
            raise Refused(f"it is a pickled {root.cls} in which no weights were found")
        raise Refused(nothing_in(root))
    classes = [part.cls for part in held if part.cls]
    described: dict[str, Any] = {"format": form}
    if classes:
        described["format"] = form if form == "TorchScript" else "full pickle"
        described["module"] = found.cls or classes[0]
    if isinstance(root, dict) and root.get("format") == "audit-model":
        described["format"] = "audit-model"
        described["checkpoint"] = plain_json(
            {k: root.get(k) for k in ("format_version", "arch", "arch_kwargs", "meta")}
        )
    return described


def nothing_in(root: Any) -> str:
    """The sentence about a file in which no weights were found."""
    if is_tensor(root):
        return "it holds one bare tensor, not a model; save a state_dict"
    keys = ", ".join(map(str, list(root)[:6])) if isinstance(root, dict) else ""
    return f"no weights were found in it{f' (its keys: {keys})' if keys else ''}; save a state_dict"


def main(arguments: list[str]) -> int:
    """Read one file in this process, which may use little memory and time; the exit code.

    Args:
        arguments: the file, the folder to write to, and what the file holds: 'model' or 'data'.
    """
    path, out, what = Path(arguments[0]), Path(arguments[1]), arguments[2]
    import numpy  # noqa: F401 - before the memory limit: its libraries map much and use little

    limit_memory(path.stat().st_size)
    sys.setrecursionlimit(2000)
    try:
        result = read(path, out, data=what == "data")
    except Refused as error:
        result = {"refused": str(error), "damaged": isinstance(error, Damaged)}
    except (MemoryError, OverflowError):
        result = {"refused": "reading it takes more memory than its size allows", "damaged": True}
    except RecursionError:
        result = {"refused": "it is nested too deeply to be a model", "damaged": True}
    except OSError as error:
        result = {"refused": f"it cannot be read ({error.strerror})", "damaged": True}
    except Exception as error:  # noqa: BLE001 - a hostile file may break the reader anywhere
        result = {"refused": f"it is malformed ({type(error).__name__})", "damaged": True}
    (out / "description.json").write_text(json.dumps(result))
    return 0
