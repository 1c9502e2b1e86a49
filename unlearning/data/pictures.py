"""One stored picture -> pixels, safely: known formats only, its size checked before it is loaded. No torch."""

from __future__ import annotations

import hashlib
import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from unlearning import digests
from unlearning.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "PPM")
EXTENSIONS = frozenset({"png", "jpg", "jpeg", "webp", "bmp", "ppm", "pgm"})
MAX_PIXELS = 4096 * 4096  # of one picture, from its header: a 300 kB PNG can claim 100 million
THUMBNAIL = 8  # pixels a side
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})  # 8 bits a channel or fewer

warnings.filterwarnings("error", category=Image.DecompressionBombWarning)  # Pillow only warns up to 179 million pixels


def decode(content: bytes, where: str) -> Image.Image:
    """The loaded picture. Raises DataError naming `where` if it cannot be decoded whole and within bounds."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(f"{where}: {width} x {height} pixels; at most {MAX_PIXELS} are decoded")
            if image.mode not in _MODES:
                raise DataError(f"{where}: pixels are {image.mode!r}; 8 bits a channel, grey or colour, is right")
            image.load()
            return image
    except DataError:
        raise
    except UnidentifiedImageError:  # its message is about this process, not about the picture
        raise DataError(f"{where}: not a picture that can be decoded as {', '.join(FORMATS)} (none of them)") from None
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise DataError(
            f"{where}: not a picture that can be decoded as {', '.join(FORMATS)} ({' '.join(str(error).split())[:120]})"
        ) from None


def as_rgb(image: Image.Image) -> Image.Image:
    """Three channels of 8 bits; transparency is dropped."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def pixel_sha256(image: Image.Image) -> str:
    """sha256 of size and RGB pixels: equal for every lossless re-encoding of the same picture."""
    rgb = as_rgb(image)
    return hashlib.sha256(f"{rgb.width}x{rgb.height} RGB\n".encode() + rgb.tobytes()).hexdigest()


def thumbnail(image: Image.Image) -> bytes:
    """The middle square as THUMBNAIL x THUMBNAIL grey levels, each the mean of what it covers: 64 bytes."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    grey = as_rgb(image).crop((left, top, left + side, top + side)).convert("L")
    return grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes()


def pixels(content: bytes, sha256: str, size: int, channels: int, where: str) -> npt.NDArray[np.uint8]:
    """A stored picture as a model is shown it, [C, H, W] uint8. Raises DataError naming `where`."""
    image = fitted(verified(content, sha256, where), size, channels)
    array = np.asarray(image, dtype=np.uint8).reshape(size, size, channels)
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def verified(content: bytes, sha256: str, where: str) -> Image.Image:
    """A stored picture, as it was indexed. Raises DataError naming `where`.

    The hash is compared first: most damaged JPEGs still decode, to another picture.
    """
    if digests.of_bytes(content) != sha256:
        raise DataError(f"{where}: the stored bytes are not the indexed ones; ingest the source again")
    return decode(content, where)


def fitted(image: Image.Image, size: int, channels: int) -> Image.Image:
    """Grey (1) or RGB (3), the shorter side resized to `size` by bicubic interpolation, then the centre square."""
    image = as_rgb(image) if channels == 3 or image.mode in ("P", "PA") else image
    image = image.convert("L") if channels == 1 and image.mode != "L" else image
    scale = size / min(image.size)
    width, height = max(size, round(image.width * scale)), max(size, round(image.height * scale))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))
