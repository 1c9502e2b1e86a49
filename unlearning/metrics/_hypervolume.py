"""The area a set of results dominates: how good is a whole trade-off, not one choice on it?

Zitzler and Thiele, "Multiobjective Optimization Using Evolutionary Algorithms", PPSN 1998 (there: size of the space
covered). For two goals, both to be made large, and a reference point that any useful result beats: the area of the
union of the rectangles between that point and each result. It grows with every result that no other dominates.
"""

from __future__ import annotations

from collections.abc import Iterable

Point = tuple[float, float]


def hypervolume(points: Iterable[Point], worst: Point, best: Point) -> float:
    """The dominated share of the box from `worst` to `best`: 0 = nothing beats `worst`, 1 = some point is `best`.

    Exact, O(n log n): points are clipped to `best`, sorted by the first goal, and each strip is counted once.
    """
    inside = [(min(x, best[0]), min(y, best[1])) for x, y in points if x > worst[0] and y > worst[1]]
    area, reached = 0.0, worst[1]
    for x, y in sorted(inside, reverse=True):
        if y > reached:
            area += (x - worst[0]) * (y - reached)
            reached = y
    return area / ((best[0] - worst[0]) * (best[1] - worst[1]))


def front(points: Iterable[Point]) -> list[Point]:
    """The points that no other point dominates, by falling first goal; equal points stand there once."""
    kept: list[Point] = []
    for x, y in sorted(set(points), reverse=True):
        if not kept or y > kept[-1][1]:
            kept.append((x, y))
    return kept
