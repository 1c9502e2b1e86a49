"""Which side of the reference is a model on: does it still know, is it like one that never saw, or did it over-forget?

A model that never saw an image knows something of it all the same. An unlearned model that knows less is no better for
it: the image stands out as one that was deleted (Alberti et al., "Data Unlearning in Diffusion Models", ICLR 2025,
report likelihoods beyond the retrained model's).
"""

from __future__ import annotations

from typing import Literal

Side = Literal["remembers", "like_reference", "over_forgets"]


def side(way: float | None, margin: float) -> Side | None:
    """`way`: from the original (0) to the reference (1), within `margin` of it, say. None where it is unknown."""
    if way is None:
        return None
    if way > 1 + margin:
        return "over_forgets"
    return "remembers" if way < 1 - margin else "like_reference"


def way(model: float | None, original: float | None, reference: float | None) -> float | None:
    """(model - original) / (reference - original) of what grows with forgetting; None where that is no scale."""
    if model is None or original is None or reference is None or reference <= original:
        return None
    return (model - original) / (reference - original)
