"""What can be said of the manifests without a cluster, an engine or a chart, and what cannot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INFRA = Path(__file__).resolve().parents[1]
HOUSE = INFRA.parent


@dataclass(frozen=True, slots=True)
class Row:
    """One thing looked at. `wrong` is empty where nothing is; `why_not` says why it could not be looked at."""

    what: str
    how: str
    wrong: tuple[str, ...] = ()
    why_not: str = ""


def not_a_name(image: str) -> str | None:
    """What is wrong with an image reference of ours: it names no registry, and it names a version."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return f"image {image!r} names a registry; the site's own configuration does that"
    tag = image.rpartition("/")[2].partition(":")[2]
    if tag in ("", "latest"):
        return f"image {image!r} has no version; write one after the colon"
    return None
