"""Foreign pictures are decoded in a child process that can open nothing (unlearning/quarantine.py), one after another.

A decoder is C code that reads what strangers wrote. The child lives on from picture to picture, for starting one takes
longer than most pictures do; one that a picture has killed is replaced. Pixels come back as plain bytes:

    asked:     8 bytes N, N bytes of a file
    answered:  b"p", width, height (4 bytes each), their pixels, RGB;  or b"r", 2 bytes N, N bytes of a clause
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from PIL import Image

from unlearning import quarantine
from unlearning.data import pictures
from unlearning.data.sources import Item
from unlearning.errors import DataError
from unlearning.quarantine import Child, Limits, Seal

PIXELS, REFUSED = b"p", b"r"
LENGTH, SIZE = struct.Struct(">Q"), struct.Struct(">II")
PICTURE = "\0"  # stands for where the picture is from, which the child is not told
SENTENCE = 400  # bytes of a refusal
LIMITS = Limits(memory=2**30, processor_s=20)  # a picture of 16 million pixels takes 0.2 GiB and 2 seconds
PATIENCE_S = 300.0  # of the clock, on a machine that does much else
_IDLE = 2  # children that are kept
_PIPE = 2**20  # bytes that a pipe holds, where it can


def decoded(items: Iterable[Item]) -> Iterator[tuple[Item, Image.Image]]:
    """Every item with its picture, RGB, in order. Raises DataError as `pictures.decode` does.

    The child decodes the next picture while whoever iterates looks at this one.
    """
    with _borrowed() as decoder:
        ahead: Item | None = None
        for item in items:
            image = _picture(decoder, ahead)
            if item.foreign:
                decoder.send(item.content)
            if ahead is not None and image is not None:
                yield ahead, image
            ahead = item
        image = _picture(decoder, ahead)
        if ahead is not None and image is not None:
            yield ahead, image


def _picture(decoder: Decoder, item: Item | None) -> Image.Image | None:
    if item is None:
        return None
    if item.foreign:
        return decoder.receive(item.origin)
    return pictures.as_rgb(pictures.decode(item.content, item.origin))


def decode(content: bytes, where: str) -> Image.Image:
    """One picture, RGB. Raises DataError naming `where` if it cannot be decoded whole and within bounds."""
    with _borrowed() as decoder:
        decoder.send(content)
        return decoder.receive(where)


class Decoder:
    """One child, and what it was asked last. Not for two threads at a time."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._owed = False  # whether an answer is still to come

    def send(self, content: bytes) -> None:
        """Ask for a picture."""
        if self._child is None or not self._child.runs:
            self.end()
            self._child = self._started()
        try:
            assert self._child.process.stdin is not None
            self._child.process.stdin.write(LENGTH.pack(len(content)))
            self._child.process.stdin.write(content)
            self._child.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has just ended: `receive` finds no answer
        self._owed = True

    def receive(self, where: str) -> Image.Image:
        """The picture asked for, RGB. Raises DataError."""
        try:
            kind = self._exactly(1)
            if kind == PIXELS:
                width, height = SIZE.unpack(self._exactly(SIZE.size))
                if not 0 < width * height <= pictures.MAX_PIXELS:
                    raise EOFError
                image = Image.frombytes("RGB", (width, height), self._exactly(3 * width * height))
                self._owed = False
                return image
            said = self._exactly(struct.unpack(">H", self._exactly(2))[0]).decode(errors="replace")
            self._owed = False
        except EOFError:
            self.end()
            said = (
                f"{PICTURE}: its decoder was ended by what it holds: more than {LIMITS.memory // 2**20} MiB of memory, "
                f"{LIMITS.processor_s} s of processor, or bytes that no decoder should be given"
            )
        clause = "".join(letter if letter.isprintable() else "?" for letter in said.removeprefix(PICTURE))
        raise DataError(f"{where}{clause}")

    @property
    def rests(self) -> bool:
        """Whether it can be asked again."""
        return self._child is not None and self._child.runs and not self._owed

    def end(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.end()
        self._child, self._owed = None, False

    def leave(self) -> None:
        """In a fork: forget the child."""
        if self._child is not None:
            self._child.leave()
        self._child = None

    def _started(self) -> Child:
        child = Child("unlearning.data._decoding_child")
        assert child.process.stdin is not None
        assert child.process.stdout is not None
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            for pipe in (child.process.stdin, child.process.stdout):
                try:
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
                except OSError:  # the user's share of pipe memory is spent: slower, and no less right
                    break
        try:
            self.seal: Seal = quarantine.heard(child.process.stdout.readline())
        except ValueError:
            child.end()
            raise DataError("the process that decodes pictures cannot be started; is there memory for it?") from None
        return child

    def _exactly(self, size: int) -> bytearray:
        """So many bytes of the answer. Raises EOFError where there are fewer, or no more in time."""
        assert self._child is not None
        assert self._child.process.stdout is not None
        answer, filled, until = bytearray(size), 0, time.monotonic() + PATIENCE_S
        handle = self._child.process.stdout.fileno()
        ready = select.poll()
        ready.register(handle, select.POLLIN)
        while filled < size:
            if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
                raise EOFError
            block = os.readv(handle, [memoryview(answer)[filled:]])
            if not block:
                raise EOFError
            filled += block
        return answer


_idle: list[Decoder] = []
_lock = threading.Lock()


@contextmanager
def _borrowed() -> Iterator[Decoder]:
    with _lock:
        decoder = _idle.pop() if _idle else Decoder()
    try:
        yield decoder
    finally:
        with _lock:
            kept = decoder.rests and len(_idle) < _IDLE
            if kept:
                _idle.append(decoder)
        if not kept:
            decoder.end()


def _forget() -> None:
    for decoder in _idle:
        decoder.leave()
    _idle.clear()


os.register_at_fork(after_in_child=_forget)
