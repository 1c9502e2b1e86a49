"""JSON that every reader reads alike: no key twice, nothing that RFC 8785 could not write again, small and shallow.

Python's own parser takes a key twice (the last one counts), NaN, numbers that no double holds, half a surrogate pair
and UTF-16 for UTF-8. Two readers that differ in one of these would see two documents under one signature.
"""

from __future__ import annotations

import json
from typing import Any

LONGEST = 256 * 2**20  # characters of one document
DEEPEST = 64  # levels of nesting
LARGEST = 2**53 - 1  # integers beyond it are not exact in a double (RFC 8259, section 6)
_DIGITS = len(str(-LARGEST))
_INEXACT = "holds a number or text that JSON cannot carry exactly"


class NotJson(ValueError):
    """What is wrong with a text, as a clause without its values; the door that read it says where and of which type."""


def parse(text: str | bytes, deepest: int = DEEPEST, longest: int = LONGEST) -> Any:
    """The one value in `text`, UTF-8. Raises NotJson."""
    if len(text) > longest:
        raise NotJson(f"more than {longest} bytes of JSON; split it")
    try:
        spelled = text.decode() if isinstance(text, bytes) else text
        tree = json.loads(
            spelled, object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_whole, parse_float=_finite
        )
    except RecursionError:
        raise NotJson(f"nested deeper than {deepest}") from None
    except UnicodeDecodeError:
        raise NotJson("not JSON (not UTF-8 text)") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON ({error})") from None
    if _deeper(tree, deepest):
        raise NotJson(f"nested deeper than {deepest}")
    if "\\ud" in spelled or "\\uD" in spelled:  # nothing but an escape can spell half a pair
        try:
            json.dumps(tree, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise NotJson(_INEXACT) from None
    return tree


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        seen = set[str]()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise NotJson(f"key {twice[:40]!r} stands there twice; once is right")
    return tree


def _no_constant(name: str) -> Any:
    raise NotJson(f"{name} is not a JSON number")


def _whole(digits: str) -> int:
    # The length first: to read a million digits takes minutes.
    if len(digits) > _DIGITS or abs(number := int(digits)) > LARGEST:
        raise NotJson(_INEXACT)
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise NotJson(_INEXACT)
    return number


def _deeper(tree: Any, deepest: int) -> bool:
    level = [tree] if isinstance(tree, dict | list) else []
    for _ in range(deepest):
        level = [
            part
            for one in level
            for part in (one.values() if isinstance(one, dict) else one)
            if isinstance(part, dict | list)
        ]
    return bool(level)
