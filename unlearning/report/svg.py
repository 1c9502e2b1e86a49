"""Charts as inline SVG. Sizes in pixels of the drawing; what is text is escaped, what is ink is named in style.css."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from markupsafe import Markup

Point = tuple[float, float]  # in the units of the scales


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` .. `high` to `start` .. `stop` pixels; what lies beyond stays at the edge. `log`: of 1 + value."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where the value stands."""
        low, high, here = (math.log1p(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        share = min(max((here - low) / (high - low), 0.0), 1.0) if high > low else 0.5
        return self.start + share * (self.stop - self.start)


@dataclass(slots=True)
class Chart:
    """A drawing in the making: two scales, and what stands on them."""

    width: float
    height: float
    x: Scale
    y: Scale
    label: str  # what it shows, for who does not see it
    root: ElementTree.Element = field(init=False)

    def __post_init__(self) -> None:
        size = f"0 0 {_px(self.width)} {_px(self.height)}"
        self.root = ElementTree.Element("svg", {"viewBox": size, "role": "img", "aria-label": self.label})

    def line(self, points: Sequence[Point], colour: str, dashed: bool = False) -> None:
        """Points joined in their order."""
        more = {"stroke-dasharray": "5 3"} if dashed else {}
        self._add("polyline", points=self._path(points), style=f"stroke: {colour}", **{"class": "line", **more})

    def band(self, low: Sequence[Point], high: Sequence[Point], colour: str) -> None:
        """What lies between two lines over the same places."""
        around = [*low, *reversed(high)]
        self._add("polygon", points=self._path(around), style=f"fill: {colour}", **{"class": "band"})

    def area(self, left: float, right: float, low: float, high: float) -> None:
        """A shaded box: where a gate lets pass."""
        (x0, x1), (y0, y1) = (self.x(left), self.x(right)), (self.y(high), self.y(low))
        box = {"x": _px(x0), "y": _px(y0), "width": _px(x1 - x0), "height": _px(y1 - y0)}
        self._add("rect", **{**box, "class": "corner"})

    def dot(self, at: Point, colour: str, place: int = 0) -> None:
        """One point; neighbours in `place` have other shapes, so that no colour needs to be told from another."""
        x, y, size = self.x(at[0]), self.y(at[1]), 4.0
        shape = place % len(_SHAPES)
        if shape == 0:
            self._add("circle", cx=_px(x), cy=_px(y), r=_px(size), style=f"fill: {colour}")
            return
        corners = " ".join(f"{_px(x + size * dx)},{_px(y + size * dy)}" for dx, dy in _SHAPES[shape])
        self._add("polygon", points=corners, style=f"fill: {colour}")

    def arm(self, start: Point, stop: Point, colour: str) -> None:
        """An interval."""
        ends = {"x1": _px(self.x(start[0])), "y1": _px(self.y(start[1]))}
        ends |= {"x2": _px(self.x(stop[0])), "y2": _px(self.y(stop[1]))}
        self._add("line", style=f"stroke: {colour}", **{**ends, "class": "arm"})

    def cloud(self, points: Sequence[Point], colour: str) -> None:
        """Many small points of one sort, in one stroke."""
        steps = "".join(f"M{_px(self.x(x))} {_px(self.y(y))}h0" for x, y in points)
        self._add("path", d=steps, style=f"stroke: {colour}", **{"class": "cloud"})

    def rule(self, x: float | None = None, y: float | None = None, strong: bool = False) -> None:
        """A line across, at one value of either scale."""
        ends = (
            {"x1": self.x(x), "x2": self.x(x), "y1": self.y.start, "y2": self.y.stop}
            if x is not None
            else {"x1": self.x.start, "x2": self.x.stop, "y1": self.y(y or 0.0), "y2": self.y(y or 0.0)}
        )
        named = {name: _px(value) for name, value in ends.items()}
        self._add("line", **{**named, "class": "level" if strong else "rule"})

    def write(self, text: str, x: float, y: float, anchor: str = "middle", turned: bool = False) -> None:
        """Words at pixels."""
        more = {"transform": f"rotate(-90 {_px(x)} {_px(y)})"} if turned else {}
        self._add("text", **{"x": _px(x), "y": _px(y), "text-anchor": anchor, **more}).text = text

    def across(self, at: Sequence[float], title: str) -> None:
        """Ticks and the title below; of ticks too near to one another the later is left out."""
        last = -math.inf
        for value in at:
            here = self.x(value)
            words = f"{value:g}"
            if here - last >= 6.5 * len(words) + 8:
                self.write(words, here, self.y.start + 14)
                last = here
        self.write(title, (self.x.start + self.x.stop) / 2, self.y.start + 29)

    def up(self, at: Sequence[float], title: str) -> None:
        """Ticks, faint lines across, and the title at the left."""
        for value in at:
            self.rule(y=value)
            self.write(f"{value:g}", self.x.start - 5, self.y(value) + 3.5, "end")
        self.write(title, 10, (self.y.start + self.y.stop) / 2, turned=True)

    def markup(self) -> Markup:
        """The element, to stand in a page."""
        return Markup(ElementTree.tostring(self.root, encoding="unicode"))  # escaped by ElementTree

    def _path(self, points: Sequence[Point]) -> str:
        return " ".join(f"{_px(self.x(x))},{_px(self.y(y))}" for x, y in points)

    def _add(self, tag: str, **attributes: str) -> ElementTree.Element:
        return ElementTree.SubElement(self.root, tag, attributes)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most about so many round numbers from `low` to `high`: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 10) + 0.0 for place in range(first, last + 1)]


_SHAPES: tuple[tuple[Point, ...], ...] = (  # in halves of a width; the first is a circle
    (),
    ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    ((0.0, -1.2), (1.1, 0.9), (-1.1, 0.9)),
    ((0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)),
    ((0.0, 1.2), (1.1, -0.9), (-1.1, -0.9)),
)


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
