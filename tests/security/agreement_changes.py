"""Changes of documents and of bytes, drawn by a seed: some that a reader has to refuse, some that it has to accept."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from tests.security.second_breaks import REMOVED


def places(value: Any, way: str = "") -> Iterator[str]:
    """Every place in a document, as `a.b.0`; a key with a dot in it has none."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in children:
        if "." not in str(key) and not (isinstance(key, str) and key.isdigit()):
            yield f"{way}{key}"
            yield from places(held, f"{way}{key}.")


def at(value: Any, path: str) -> Any:
    """What is there."""
    for step in path.split("."):
        value = value[int(step) if step.isdigit() else step]
    return value


ODD = ("", "\n", "a" * 200, "a" * 201, "\x1f", "\x7f", "\u2028", "\U0001f600", "A", "none", "0", "C1", "https://x")
WHOLE = (0, 1, -1, 2, 7, 2**53 - 1, 2**53, -(2**53) + 1, -(2**53))


def another(rng: Random, held: Any, parts: dict[str, Any]) -> Any:
    """Something else for a place: near what it holds, of another kind, from elsewhere in the bundle, or nothing."""
    if rng.random() < 0.08:
        return REMOVED
    if rng.random() < 0.1:
        return rng.choice((None, True, False, 0, "", [], {}, [held], {"sha256": held}))
    if rng.random() < 0.15:
        document = rng.choice(list(parts.values()))
        return copy.deepcopy(at(document, rng.choice(list(places(document)))))
    if isinstance(held, bool):
        return not held
    if isinstance(held, int):
        return rng.choice((held + 1, held - 1, rng.choice(WHOLE)))
    if isinstance(held, str):
        return rng.choice((rng.choice(ODD), near(rng, held), near(rng, held), held + rng.choice(ODD[:5]), held[:-1]))
    if isinstance(held, list):
        more = another(rng, held[0] if held else 0, parts)
        return rng.choice((held[::-1], held[1:], held + held[:1], [*held, *([] if more is REMOVED else [more])]))
    if isinstance(held, dict):
        return {**held, rng.choice(("more", "a", "sha256", "é")): rng.choice((0, None, "", "0" * 64))}
    return rng.choice((0, "0" * 64, "2026-09-01T00:00:00+00:00", "code", False))


def near(rng: Random, text: str) -> str:
    """The text with one character exchanged for one of its kind: a moment stays one, mostly, and a digest always."""
    if not text:
        return "a"
    where = rng.randrange(len(text))
    kind = next((kind for kind in ("0123456789", "abcdef", "ghijklmnopqrstuvwxyz") if text[where] in kind), "aZ9\u0663")
    return text[:where] + rng.choice(kind) + text[where + 1 :]


def noise(rng: Random, data: bytes) -> bytes:
    """The bytes with one to three of them flipped, inserted or deleted, or cut off."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        where = rng.randrange(len(made) + 1)
        match rng.randrange(5):
            case 0:
                made[where : where + 1] = bytes(one ^ 1 << rng.randrange(8) for one in made[where : where + 1])
            case 1:
                made.insert(where, rng.choice(b'\n\r\t ",:{}[]0aA=\\\x00\xff'))
            case 2:
                del made[where : where + 1]
            case 3:
                made[where:where] = made[where : where + rng.randrange(1, 99)]
            case _:
                del made[where:]
        if not made:
            break
    return bytes(made)


RESPELLINGS: tuple[Callable[[Random, bytes], bytes], ...] = (
    lambda rng, text: json.dumps(json.loads(text)).encode(),
    lambda rng, text: json.dumps(json.loads(text), separators=(",", ":"), sort_keys=True).encode(),  # \\u escapes
    lambda rng, text: json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":")).encode(),
    lambda rng, text: text.replace(b"0", b"0.0", 1),
    lambda rng, text: text + b"\n",
    lambda rng, text: b"\xef\xbb\xbf" + text,
    lambda rng, text: text.replace(b":1", b":1e0", 1),
    lambda rng, text: text.replace(b"/", b"\\/", 1),
    lambda rng, text: text.decode().encode("utf-16"),
    lambda rng, text: text,  # as it was
)
