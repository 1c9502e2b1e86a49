"""A pickled archive of weights becomes tensors: read without running its pickle, in a process that can do nothing else.

PyTorch's restricted reader (`weights_only=True`) is the first wall: it knows tensors and plain values. It has been
climbed twice (CVE-2025-32434, CVE-2026-24747), so it runs in a sealed child (unlearning/quarantine.py) that opens no
file, reaches no network, and hands back safetensors, whose header is checked before anything else believes it.

One process imports torch and waits; each file is read by a fork of it, which is sealed, used once and gone.
"""

from __future__ import annotations

import atexit
import os
import select
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from unlearning import json_text, tensor_files
from unlearning.errors import CheckpointError
from unlearning.quarantine import Child, Limits

SAFE_SINCE = (2, 10)  # torch: before it, a file that `weights_only` accepts could corrupt memory (CVE-2026-24747)
IDLE_S = 30.0  # after which the waiting process leaves
REQUEST = struct.Struct(">QQQ")  # memory, seconds, bytes: the limits; then the wrappers, by "/"
LONGEST_REQUEST = 4096  # bytes
_PATIENCE_S = 600.0  # of the clock, on a machine that does much else
_ANSWER = 4096  # bytes


class Unreadable(Exception):
    """Why an archive gave no tensors, as a clause."""


def tensors(file: BinaryIO, where: str, wrappers: Sequence[str]) -> dict[str, Tensor]:
    """Every tensor by name at the top of the archive, or under one of `wrappers`, in the order of the archive.

    None where there is no such tensor. Raises Unreadable for an archive that is damaged, needs its pickle to be run, or
    takes more memory or time than weights do; CheckpointError for a torch whose reader is not safe.
    """
    if torch_version() < SAFE_SINCE:
        raise CheckpointError(
            f"{where}: torch {torch.__version__} reads archives unsafely (CVE-2026-24747); torch "
            f"{'.'.join(map(str, SAFE_SINCE))} or later, or a safetensors file, is right"
        )
    size = os.fstat(file.fileno()).st_size
    limits = Limits(memory=2 * size + 2**30, processor_s=60 + size // 2**24, written=2 * size + 2**26)
    with tempfile.TemporaryFile() as sink:
        said = _served(file.fileno(), sink.fileno(), limits, wrappers)
        if said.get("why") is not None:
            raise Unreadable(str(said["why"])[:80])
        sink.seek(0)
        content = sink.read()
    try:
        names = tensor_files.check(content, where)
        loaded = safetensors.torch.load(content)
    except (CheckpointError, SafetensorError):
        raise Unreadable("it holds more than tensors of plain numbers") from None
    return {name: loaded[name] for name in names}


def torch_version() -> tuple[int, ...]:
    """Major and minor."""
    return tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])


class _Server:
    """The process that waits, and the door to it."""

    def __init__(self) -> None:
        self._door, theirs = socket.socketpair()
        with theirs:
            self.child = Child("unlearning._conversion_child", kept=[theirs.fileno()])

    def ask(self, request: bytes, handles: Sequence[int]) -> None:
        """Raises OSError if it has left."""
        socket.send_fds(self._door, [request], list(handles))

    def end(self) -> None:
        self._door.close()
        self.child.end()

    def leave(self) -> None:
        self._door.close()
        self.child.leave()


_lock = threading.Lock()
_waiting: list[_Server] = []


def _served(source: int, sink: int, limits: Limits, wrappers: Sequence[str]) -> dict[str, Any]:
    """What the child says: {"tensors": n}, or {"why": clause}."""
    request = REQUEST.pack(limits.memory, limits.processor_s, limits.written) + "/".join(wrappers).encode()
    inward, outward = os.pipe()
    with _lock:
        try:
            _ask(request, (source, sink, outward))
        finally:
            os.close(outward)
        try:
            answer = _answer(inward, _PATIENCE_S + limits.processor_s)
        finally:
            os.close(inward)
        if answer is None:
            _waiting.pop().end()
    with suppress(ValueError):
        said = json_text.parse(answer or b"", deepest=2)
        if isinstance(said, dict) and said.keys() & {"why", "tensors"}:
            return said
    return {"why": "reading it took more memory or time than weights do, or ended the process that read it"}


def _ask(request: bytes, handles: Sequence[int]) -> None:
    if _waiting and _waiting[0].child.runs:
        with suppress(OSError):  # it may leave this very moment
            return _waiting[0].ask(request, handles)
    _end()
    _waiting.append(_Server())
    _waiting[0].ask(request, handles)


def _answer(handle: int, patience_s: float) -> bytes | None:
    """All that comes, until there is nobody who could say more; None if that takes too long."""
    answer, until = b"", time.monotonic() + patience_s
    ready = select.poll()
    ready.register(handle, select.POLLIN)
    while len(answer) <= _ANSWER:
        if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
            return None
        block = os.read(handle, _ANSWER)
        if not block:
            return answer
        answer += block
    return None


def _forget() -> None:
    while _waiting:
        _waiting.pop().leave()


def _end() -> None:
    while _waiting:
        _waiting.pop().end()


os.register_at_fork(after_in_child=_forget)
atexit.register(_end)
