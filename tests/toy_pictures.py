"""Soft pictures, as photographs are: a lossy copy of one is still near to it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def soft(seed: int, side: int, cells: int = 8) -> Image.Image:
    """Soft shapes that no other seed gives: `cells` by `cells` colours, `side` by `side` pixels."""
    levels = np.random.default_rng(seed).integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """The bytes of its file."""
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()
