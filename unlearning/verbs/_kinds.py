"""Every room whose members params.yaml may choose by `kind`."""

from __future__ import annotations

from unlearning.recipe import discover

ROOMS = ("generators", "corruptions", "methods", "merges", "scopes", "metrics", "attacks")


def register() -> None:
    """Import every recipe there is, so that a `Choice` can be looked up. Cheap when done before."""
    for room in ROOMS:
        discover(f"unlearning.{room}")
