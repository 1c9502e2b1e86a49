"""The other end of unlearning/conversion.py: forks once a file, and the fork reads it and writes safetensors."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import torch
from torch import Tensor

from unlearning import quarantine
from unlearning.conversion import IDLE_S, LONGEST_REQUEST, REQUEST
from unlearning.quarantine import Limits

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def main() -> None:
    """Serve until nobody asks any more; the first argument is the door's file descriptor."""
    door = socket.socket(fileno=int(sys.argv[1]))
    door.settimeout(IDLE_S)
    _know_every_format()
    while True:
        try:
            request, handles, _, _ = socket.recv_fds(door, LONGEST_REQUEST, 3)
        except TimeoutError:
            return
        if len(handles) != 3:
            return
        if os.fork() == 0:
            door.close()
            try:
                _convert(request, *handles)
            finally:
                os._exit(0)
        for handle in handles:
            os.close(handle)
        os.wait()


def _convert(request: bytes, source: int, sink: int, answer: int) -> None:
    memory, processor_s, written = REQUEST.unpack(request[: REQUEST.size])
    wrappers = request[REQUEST.size :].decode().split("/")
    quarantine.seal(Limits(memory, processor_s, written))
    try:
        with os.fdopen(source, "rb") as file, os.fdopen(sink, "wb") as out:
            file.seek(0)
            said: dict[str, Any] = {"tensors": write(read(file, wrappers), out)}
    except Exception as error:  # a damaged archive raises whatever its bytes lead to
        said = {"why": type(error).__name__}
    os.write(answer, json.dumps(said).encode())


def read(file: BinaryIO, wrappers: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of an archive by name; raises whatever its bytes lead to."""
    # Training scripts store their command line beside the weights; a Namespace is a bag of values, it runs nothing.
    with torch.serialization.safe_globals([Namespace]):
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    held = loaded if isinstance(loaded, Mapping) else {}
    for wrapper in wrappers:
        if isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    return {str(name): value for name, value in held.items() if isinstance(value, Tensor)}


def write(tensors: Mapping[str, Tensor], out: BinaryIO) -> int:
    """As safetensors, in this order, one tensor in memory at a time; how many. Raises ValueError for an odd kind."""
    header, end = dict[str, Any](), 0
    for name, value in tensors.items():
        if value.dtype not in _TYPES or value.layout is not torch.strided or value.device.type != "cpu":
            raise ValueError(name)
        begin, end = end, end + value.numel() * value.element_size()
        header[name] = {"dtype": _TYPES[value.dtype], "shape": list(value.shape), "data_offsets": [begin, end]}
    spelled = json.dumps(header).encode()
    out.write(len(spelled).to_bytes(8, "little") + spelled)
    for value in tensors.values():
        plain = value.detach().resolve_neg().contiguous().reshape(-1)
        out.write(plain.view(torch.uint8).numpy().data)
    return len(header)


def _know_every_format() -> None:
    """Import now what could not be opened later: torch finds some of its parts when the first file needs them."""
    kept = {"model": {"a": torch.zeros(2), "b": torch.nn.Parameter(torch.zeros(2).bfloat16())}, "args": Namespace(x=1)}
    for zipped in (True, False):
        sink = io.BytesIO()
        torch.save(kept, sink, _use_new_zipfile_serialization=zipped)
        sink.seek(0)
        write(read(sink, ["model"]), io.BytesIO())
    for damaged in (b"", b"PK\3\4 no archive", b"\x80\x02cos\nsystem\n."):
        try:
            read(io.BytesIO(damaged), [])
        except Exception:  # what it imports to say so is all that matters
            continue
