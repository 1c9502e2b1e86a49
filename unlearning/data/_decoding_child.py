"""The other end of unlearning/data/decoding.py: reads pictures, sends pixels, and can do nothing else."""

from __future__ import annotations

import io
import struct
import sys

from PIL import Image

from unlearning import quarantine
from unlearning.data import pictures
from unlearning.data.decoding import LENGTH, LIMITS, PICTURE, PIXELS, REFUSED, SENTENCE, SIZE
from unlearning.errors import DataError


def main() -> None:
    """Answer every picture until nobody asks any more."""
    _know_every_format()
    inward, outward = sys.stdin.buffer, sys.stdout.buffer
    outward.write(quarantine.spoken(quarantine.seal(LIMITS)))
    outward.flush()
    while head := inward.read(LENGTH.size):
        content = inward.read(LENGTH.unpack(head)[0])
        quarantine.limit_processor(LIMITS.processor_s)
        for part in _answer(content):
            outward.write(part)
        outward.flush()


def _answer(content: bytes) -> tuple[bytes, ...]:
    try:
        image = pictures.as_rgb(pictures.decode(content, PICTURE))
        return PIXELS, SIZE.pack(image.width, image.height), image.tobytes()
    except DataError as error:
        return _refusal(str(error))
    except MemoryError:
        return _refusal(f"{PICTURE}: needs more memory than a picture may")


def _refusal(sentence: str) -> tuple[bytes, ...]:
    said = sentence.encode()[:SENTENCE]
    return REFUSED, struct.pack(">H", len(said)), said


def _know_every_format() -> None:
    """Import now what could not be opened later: Pillow finds its decoders when the first picture needs one."""
    Image.init()
    for form in pictures.FORMATS:
        for mode in ("RGB", "P"):
            sink = io.BytesIO()
            Image.new("RGB", (8, 8)).convert(mode if form in ("PNG", "BMP") else "RGB").save(sink, form)
            _answer(sink.getvalue())
    _answer(b"")
