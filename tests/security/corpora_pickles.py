"""Pickles that really run something when they are loaded, in every wrapping in which weights and samples come.

Each gadget leaves a marker file. `proven` loads every one of them with plain `pickle` in a scratch process and says
which left theirs: a corpus of duds would prove nothing about whoever refuses it.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


class _Calls:
    """An object that is rebuilt by calling `what` by its name."""

    def __init__(self, what: Any, *arguments: Any) -> None:
        self._reduced = (what, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._reduced


def _named(module: str, name: str, *arguments: Any, protocol: int = 4) -> bytes:
    """A pickle that calls module.name(*arguments), written by hand: the name need not exist here."""
    if protocol >= 4:
        found = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name)) + b"\x93"
        head = b"\x80" + bytes([protocol])
    else:
        found, head = b"c" + module.encode() + b"\n" + name.encode() + b"\n", b"" if protocol < 2 else b"\x80\x02"
    # The arguments' own pickle, without its frame, protocol and end.
    spelled = pickle.dumps(arguments, 2)[2:-1]
    return head + found + spelled + b"R."


def _touch(marker: str) -> str:
    return f"touch '{marker}'"


def _python(marker: str) -> str:
    return f"open({marker!r}, 'w').close()"


GADGETS: dict[str, Callable[[str], bytes]] = {
    "os_system": lambda m: _named("os", "system", _touch(m)),
    "posix_system_text": lambda m: _named("posix", "system", _touch(m), protocol=0),
    "posix_system_2": lambda m: _named("posix", "system", _touch(m), protocol=2),
    "status_output": lambda m: _named("subprocess", "getstatusoutput", _touch(m)),
    "os_mkdir": lambda m: _named("os", "mkdir", m),
    "os_mknod": lambda m: _named("os", "mknod", m),
    "os_symlink": lambda m: _named("os", "symlink", "/etc/hostname", m),
    "subprocess_call": lambda m: _named("subprocess", "call", ["touch", m]),
    "subprocess_run": lambda m: _named("subprocess", "run", ["touch", m]),
    "subprocess_output": lambda m: _named("subprocess", "getoutput", _touch(m)),
    "eval": lambda m: _named("builtins", "eval", _python(m)),
    "exec": lambda m: _named("builtins", "exec", _python(m)),
    "open": lambda m: _named("builtins", "open", m, "w"),
    "io_file": lambda m: _named("io", "FileIO", m, "w"),
    "codecs_open": lambda m: _named("codecs", "open", m, "w"),
    "path_touch": lambda m: pickle.dumps(_Calls(Path.touch, Path(m)), 4),
    "copyfile": lambda m: _named("shutil", "copyfile", "/etc/hostname", m),
    "timeit": lambda m: _named("timeit", "timeit", "pass", _python(m)),
    "profile": lambda m: _named("cProfile", "run", _python(m), f"{m}.profile"),
    "logging": lambda m: _named("logging", "FileHandler", m),
    "zip_file": lambda m: _named("zipfile", "ZipFile", m, "w"),
    "tar_file": lambda m: _named("tarfile", "open", m, "w"),
    "gzip_file": lambda m: _named("gzip", "open", m, "w"),
    "numpy_savetxt": lambda m: _named("numpy", "savetxt", m, [1.0]),
    "numpy_f2py": lambda m: _named("numpy.f2py.crackfortran", "myeval", _python(m), {}, {}),
    "nested": lambda m: _named("pickle", "loads", _named("os", "system", _touch(m))),
    "inst": lambda m: b"(S" + repr(_touch(m)).encode() + b"\nios\nsystem\n.",
    "obj": lambda m: b"(cos\nsystem\nS" + repr(_touch(m)).encode() + b"\no.",
    "in_a_dict": lambda m: pickle.dumps({"model": {"weight": _Calls(exec, _python(m))}}, 2),
    "in_a_namespace": lambda m: pickle.dumps({"args": _Calls(eval, _python(m))}, 4),
    "garbage_behind": lambda m: _named("os", "system", _touch(m)) + b"\xff\x00 garbage that is no opcode",
    "attribute_of": lambda m: pickle.dumps(_Calls(getattr(Path(m), "touch")), 4),  # noqa: B009  # by its name, as it is
}

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch's files before they were zip archives


def zipped(payload: bytes) -> bytes:
    """As torch.save writes: a zip archive with the pickle in it."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in (("data.pkl", payload), ("byteorder", b"little"), ("version", b"3\n")):
            archive.writestr(f"archive/{name}", content)
    return sink.getvalue()


def legacy(payload: bytes) -> bytes:
    """As torch.save wrote before 1.6: pickles one after another."""
    system = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, system)) + payload + pickle.dumps([], 2)


def tarred(payload: bytes) -> bytes:
    """As torch.save wrote before 0.1.10: a tar archive with the pickle in it."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        parts = (("storages", pickle.dumps(0, 2)), ("tensors", pickle.dumps(0, 2)), ("pickle", payload))
        for name, content in (*parts, ("sys_info", pickle.dumps({"little_endian": True}, 2))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return sink.getvalue()


def array(payload: bytes) -> bytes:
    """As numpy.save writes an array of objects."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "bare": lambda payload: payload,
    "zipped": zipped,
    "legacy": legacy,
    "tarred": tarred,
    "array": array,
}

# What loads a wrapped pickle unsafely, in a process that has nothing but Python and NumPy.
_LOADER = """
import io, json, pickle, sys, tarfile, zipfile
from pathlib import Path
import numpy

def load(kind, content):
    if kind == "zipped":
        content = zipfile.ZipFile(io.BytesIO(content)).read("archive/data.pkl")
    if kind == "tarred":
        content = tarfile.open(fileobj=io.BytesIO(content)).extractfile("pickle").read()
    if kind == "array":
        return numpy.load(io.BytesIO(content), allow_pickle=True)
    file = io.BytesIO(content)
    for _ in range(4 if kind == "legacy" else 1):
        found = pickle.load(file)
    return found

held = []
for line in sys.stdin:
    name, kind, content, marker = json.loads(line)
    try:
        held.append(load(kind, bytes.fromhex(content)))
    except Exception as error:
        held.append(error)
    if Path(marker).exists() or Path(marker).is_symlink():
        print(name)
"""


def corpus(folder: Path) -> dict[str, tuple[str, bytes, Path]]:
    """Name -> (wrapping, bytes, marker): every gadget bare, and one in turn in each other wrapping."""
    made = dict[str, tuple[str, bytes, Path]]()
    others = [kind for kind in WRAPPINGS if kind != "bare"]
    for number, (name, gadget) in enumerate(GADGETS.items()):
        for kind in ("bare", others[number % len(others)]):
            marker = folder / f"{name}.{kind}.ran"
            made[f"{name}, {kind}"] = (kind, WRAPPINGS[kind](gadget(str(marker))), marker)
    return made


def proven(folder: Path) -> set[str]:
    """The names of those that ran when a scratch process loaded them; their markers are below `folder`."""
    lines = "".join(
        json.dumps([name, kind, content.hex(), str(marker)]) + "\n"
        for name, (kind, content, marker) in corpus(folder).items()
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", _LOADER], input=lines, cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines())
