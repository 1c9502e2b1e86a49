"""What a parser is to whoever fuzzes it: how an input is made, how it is handed in, and how what was kept is spelled.

`make(rng)` gives one input. `read(input)` gives None where the parser refused it in its own word (a bundle's form is
told by NotABundle), raises its typed error, or gives what it accepted as bytes: reading those again must give the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.security import mutations
from tests.security.mutations import octets


@dataclass(frozen=True)
class Door:
    """One parser."""

    name: str
    make: Callable[[Random], Any]
    read: Callable[[Any], bytes | None]
    again: Callable[[bytes], Any] = field(default=lambda kept: kept)  # what was kept, as an input


def spelled(rng: Random, tree: Any) -> bytes:
    """JSON in one of its spellings."""
    form = rng.randrange(4)
    plain = dict(ensure_ascii=form == 0, indent=1 if form == 1 else None, sort_keys=False)
    return json.dumps(tree, **plain).encode(errors="surrogatepass")  # type: ignore[arg-type]


def canonical(tree: Any) -> bytes:
    """The spelling that evidence has, where the tree has one: what is wrong then is the tree."""
    try:
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except TypeError:  # keys of two types
        text = json.dumps(tree)
    return text.encode(errors="surrogatepass")


def json_of(sample: bytes) -> Callable[[Random], bytes]:
    def make(rng: Random) -> bytes:
        if rng.random() < 0.4:
            return octets(rng, sample, [sample])
        return spelled(rng, mutations.tree(rng, json.loads(sample)))

    return make
