"""Changes of a valid input that a grammar, a byte, or a number could make: seeded, cheap, one or a few at a time.

A tree is changed where a reader decides (a key, a type, a depth, a number); a text where a scanner does (a token, a
quote, a byte). Whoever wants the same input again draws it from the same `Random`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Tree = Any

# What stands for a value of another type, at a bound, or spelled as something else.
ODD: tuple[Tree, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    0.5,
    -0.0,
    4.0,
    1e308,
    5e-324,
    2**31,
    2**53 - 1,
    2**53,
    -(2**63),
    2**64,
    10**40,
    float("nan"),
    float("inf"),
    "",
    " ",
    "0",
    "1e3",
    "null",
    "\x00",
    "\n",
    "\u202e",
    "\ufeff",
    "é",
    "e\u0301",
    "\U0001f600",
    "\ud800",
    "a" * 64,
    "a" * 65,
    "f" * 64,
    "A" * 64,
    "x" * 1000,
    "../../etc/passwd",
    "=1+1",
    "2026-02-30T00:00:00Z",
    "2026-11-01T09:30:00+00:00",
    "00000000-0000-4000-8000-000000000000",
    [],
    {},
    [[]],
    [None],
    {"": ""},
    {"kind": 1},
    [0] * 20,
)
TOKENS: tuple[bytes, ...] = (
    b'"',
    b"'",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b",,",
    b"\n",
    b"\r",
    b"\r\n",
    b"\t",
    b" ",
    b"\0",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"null",
    b"true",
    b"NaN",
    b"Infinity",
    b"-",
    b"-0",
    b"1e999",
    b"9007199254740993",
    b"0x1",
    b"1_0",
    b"1.",
    b".5",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!int ",
    b"? ",
    b"- ",
    b"|\n",
    b"%YAML 1.1\n---\n",
    b"---\n",
    b"...\n",
    b"#",
    b"=",
    b"==",
    b"/*",
    b"[" * 40,
    b'{"a":' * 40,
    b"9" * 400,
)


def tree(rng: Random, root: Tree) -> Tree:
    """`root`, which the caller gives away, changed at one place."""
    holder, place = None, None
    value = root
    while isinstance(value, dict | list) and value and (holder is None or rng.random() < 0.7):
        holder = value
        place = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        value = value[place]
    if holder is None:
        return odd(rng)
    if rng.random() < 0.6:
        holder[place] = _other(rng, value, root)
    elif isinstance(holder, dict):
        _keys(rng, holder, place)
    else:
        _places(rng, holder, place)
    return root


def odd(rng: Random) -> Tree:
    """A value that is hardly ever right."""
    if rng.random() < 0.02:
        return _deep(rng)
    return copy.deepcopy(rng.choice(ODD))


def word(rng: Random, text: str) -> str:
    """A text, one or a few of its letters other ones."""
    for _ in range(rng.choice((1, 1, 1, 3))):
        at = rng.randrange(len(text) + 1)
        how = rng.randrange(6)
        if how == 0:
            text = text[:at] + rng.choice(_LETTERS) + text[at:]
        elif how == 1:
            text = text[:at] + text[at + 1 :]
        elif how == 2:
            text = text[:at] + rng.choice(_LETTERS) + text[at + 1 :]
        elif how == 3:
            text = text[:at] + text[at : at + 1].swapcase() + text[at + 1 :]
        elif how == 4:
            text = text[:at]
        else:
            text = text + text[at:]
    return text


def octets(rng: Random, content: bytes, others: Sequence[bytes], tokens: Sequence[bytes] = TOKENS) -> bytes:
    """Bytes, changed at one or a few places, or joined with a part of one of `others`."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        content = rng.choice(_CHANGES)(rng, content, others, tokens)
    return content


def _flip(rng: Random, content: bytes, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    if not content:
        return b"\0"
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def _byte(rng: Random, content: bytes, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + bytes([rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))]) + content[at + 1 :]


def _token(rng: Random, content: bytes, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice(tokens) + content[at + rng.choice((0, 0, 1, 4)) :]


def _cut(rng: Random, content: bytes, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.choice((1, 2, 8, 64, 10**9)) :]


def _again(rng: Random, content: bytes, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    at, size = rng.randrange(len(content) + 1), rng.choice((1, 4, 16, 512))
    return content[:at] + content[at : at + size] * rng.choice((2, 2, 3, 20)) + content[at + size :]


def _spliced(rng: Random, content: bytes, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


def _swapped(rng: Random, content: bytes, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    first, second = sorted((rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)))
    size = min(rng.choice((1, 8, 64)), second - first)
    one, two = content[first : first + size], content[second : second + size]
    return content[:first] + two + content[first + size : second] + one + content[second + size :]


def _other(rng: Random, value: Tree, root: Tree) -> Tree:
    how = rng.random()
    if isinstance(value, str) and how < 0.5:
        return word(rng, value)
    if isinstance(value, int | float) and not isinstance(value, bool) and how < 0.4:
        return rng.choice((value + 1, value - 1, -value, value * 2**31, float(value), str(value)))
    if how < 0.65:
        return [copy.deepcopy(value)] if how < 0.55 else {"a": copy.deepcopy(value)}
    if how < 0.75:
        return copy.deepcopy(root[rng.choice(list(root))] if isinstance(root, dict) else root)
    return odd(rng)


def _keys(rng: Random, holder: dict[str, Tree], place: str) -> None:
    how = rng.randrange(4)
    if how == 0:
        del holder[place]
    elif how == 1:
        holder[word(rng, place)] = holder.pop(place)
    elif how == 2:
        holder[rng.choice(_NAMES)] = odd(rng)
    else:
        other = rng.choice(list(holder))
        holder[place], holder[other] = holder[other], holder[place]


def _places(rng: Random, holder: list[Tree], place: int) -> None:
    how = rng.randrange(4)
    if how == 0:
        del holder[place]
    elif how == 1:
        holder.insert(place, copy.deepcopy(holder[place]))
    elif how == 2:
        rng.shuffle(holder)
    else:
        holder.append(odd(rng))


def _deep(rng: Random) -> Tree:
    value: Tree = rng.choice((1, "x", None))
    for _ in range(rng.choice((3, 9, 33, 70, 500))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


_LETTERS = "aZ09-_.:/\\\"'<>&%{}$=+@ \t\n\r\0\x1b\x7f\u0130\u200b\u202e\ufeff\uffff\u0660é\U0001f600"
_NAMES = ("a", "", "schema", "kind", "__proto__", "class", "é", "\n", "x" * 200, "0")
_CHANGES: tuple[Callable[[Random, bytes, Sequence[bytes], Sequence[bytes]], bytes], ...] = (
    _flip,
    _byte,
    _token,
    _token,
    _cut,
    _again,
    _spliced,
    _swapped,
)
