"""Who asks for what in which week: decided by the seed alone. The book says how each request must end."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.soak.home import DATA

Door = Literal["inbox", "http"]
HELD_IN, RELEASED_IN, POISON_IN, CLASS_IN, SUBJECT_IN = 2, 4, 6, 7, 3


@dataclass(frozen=True, slots=True)
class Letter:
    """Requests that come together through one door."""

    door: Door
    bodies: tuple[dict[str, Any], ...]
    conflicting: bool = False  # a known id with another body: refused at any door, and nothing changes


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody does about a request that was filed."""

    what: Literal["cancel", "hold", "release"]
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Week:
    """What happens before the tick, and while its batch is made."""

    letters: tuple[Letter, ...]
    changes: tuple[Change, ...]
    meanwhile: tuple[Letter, ...]


@dataclass(slots=True)
class Crowd:
    """Every controller together. `week(n)` is asked for once each, in order."""

    seed: int
    images: list[dict[str, Any]]  # rows of the index that training sees: key, sha256, pixel_sha256, class, subject
    last: int  # the week after which nobody comes
    book: dict[str, str] = field(default_factory=dict)  # request id -> the state it must end in
    poison: dict[str, Any] | None = None
    _filed: list[dict[str, Any]] = field(default_factory=list)
    _held: dict[str, Any] | None = None

    def week(self, number: int) -> Week:
        """Everything of that week."""
        rng = random.Random(f"{self.seed} {number}")
        keys = [self._request(rng, [{"sample_key": row["key"]} for row in self._some(rng)]) for _ in range(3)]
        hashes = [
            self._request(rng, [{"content_sha256": self._some(rng, 1)[0]["sha256"]}]),
            self._request(rng, [{"pixel_sha256": self._some(rng, 1)[0]["pixel_sha256"]}], regulation="ccpa"),
        ]
        leaving = self._request(rng, [{"sample_key": self._some(rng, 1)[0]["key"]}], ends="cancelled")
        letters = [Letter("inbox", tuple(keys)), *(Letter("http", (one,)) for one in [*hashes, leaving])]
        changes = [Change("cancel", leaving)]
        self._special(number, rng, letters, changes)
        if self._filed:
            letters += self._again(number, rng)
        meanwhile = () if number >= self.last else self._meanwhile(rng)
        for letter in (*letters, *meanwhile):
            self._filed += [] if letter.conflicting else letter.bodies
        return Week(tuple(letters), tuple(changes), meanwhile)

    def _special(self, number: int, rng: random.Random, letters: list[Letter], changes: list[Change]) -> None:
        """What comes once: a hold, a short contract, a subject, a class, and somebody who asks for everything."""
        if number == HELD_IN and self.last > RELEASED_IN:
            self._held = self._request(rng, [{"sample_key": self._some(rng, 1)[0]["key"]}], regulation="contract")
            nobody = self._request(rng, [{"sample_key": "img-nowhere"}], ends="not_found")
            letters.append(Letter("inbox", (self._held, nobody)))
            changes.append(Change("hold", self._held))
        if number == SUBJECT_IN:
            short = self._request(rng, [{"subject": rng.choice(["0", "1"])}], regulation="contract")
            letters.append(Letter("http", (short,)))
        if number == RELEASED_IN and self._held is not None:
            changes.append(Change("release", self._held))
        if number == POISON_IN:
            every = [{"class": str(digit), "approved_by": "privacy-officer"} for digit in range(10)]
            self.poison = self._request(rng, every, ends="cancelled")
            letters.append(Letter("http", (self.poison,)))
        if number == CLASS_IN:
            one = [{"class": rng.choice(["8", "9"]), "approved_by": "privacy-officer"}]
            letters.append(Letter("inbox", (self._request(rng, one),)))

    def _again(self, number: int, rng: random.Random) -> list[Letter]:
        """A request of an earlier week word for word, by the other door; one with another body under its id; and the
        images of an earlier request once more, asked for by somebody else."""
        old, other, images = rng.choice(self._filed), rng.choice(self._filed), rng.choice(self._filed)
        forged = {**other, "selectors": [{"sample_key": self._some(rng, 1)[0]["key"]}, *other["selectors"][:1]]}
        doors: tuple[Door, Door] = ("http", "inbox") if number % 2 else ("inbox", "http")
        found = [Letter(doors[0], (old,)), Letter(doors[1], (forged,), conflicting=True)]
        if self.book[images["request_id"]] == "promoted":
            found.append(Letter("inbox", (self._request(rng, images["selectors"]),)))
        return found

    def _meanwhile(self, rng: random.Random) -> tuple[Letter, ...]:
        one, two = (self._request(rng, [{"sample_key": row["key"]}]) for row in self._some(rng, 2))
        return Letter("inbox", (one,)), Letter("http", (two,))

    def _some(self, rng: random.Random, count: int | None = None) -> list[dict[str, Any]]:
        return rng.sample(self.images, count or rng.randint(3, 6))

    def _request(
        self, rng: random.Random, selectors: list[dict[str, Any]], regulation: str = "gdpr", ends: str = "promoted"
    ) -> dict[str, Any]:
        name = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        self.book[name] = ends
        return {
            "schema": "forget-request/1",
            "request_id": name,
            "controller_id": rng.choice(["shop-1", "shop-2"]),
            "goal": "unreconstructable",
            "regulation": regulation,
            "kind": "erasure",
            "submitted_at": "2027-01-01T09:30:00Z",
            "dataset": DATA,
            "selectors": selectors,
        }


def as_lines(letter: Letter) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(body).encode() + b"\n" for body in letter.bodies)
