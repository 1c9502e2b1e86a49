"""Attacks on what a request may name: other people's images, whole classes, what a hold keeps. Real verbs, no training.

`accepted` counts requests for which images would be forgotten at once, without anybody's word.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.toy_batch import CLASSES, file_requests, picture_tree, request_body, request_id, toy_params
from tests.toy_pictures import saved, soft
from unlearning import files
from unlearning.data import index, manifest
from unlearning.errors import RequestError
from unlearning.log import silent
from unlearning.requests.ledger import Ledger
from unlearning.verbs import ingest, request, resolve, seal
from unlearning.workspace import Workspace

REPOSITORY = Path(__file__).parents[2]
CLASS = CLASSES[-1]
ALIKE = "alike"  # a class of near duplicates

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Came:
    """What a batch of requests came to."""

    states: list[str]
    images: int  # that would be forgotten
    reasons: list[str]  # of what waits for an officer
    told: list[Row]  # resolution.json's requests

    @property
    def accepted(self) -> int:
        """Requests that somebody's images are forgotten for."""
        return self.states.count("scheduled")


class Doors:
    """One toy data set; each attack has a copy of it, and a ledger to itself."""

    def __init__(self, home: Path) -> None:
        self._home, self._made, tree = home, 0, picture_tree(home / "pictures")
        for quality in (100, 90, 80, 70, 60):  # one picture in six files, each another person's
            folder = tree / ALIKE / f"owner-{quality}"
            folder.mkdir(parents=True)
            (folder / "picture.jpg").write_bytes(saved(soft(1, 32), "JPEG", quality=quality))
        self._root = home / "var"
        ingest.run(str(tree), "toys", Workspace(self._root), silent, "folder")

    def keys(self, name: str) -> list[str]:
        """Of the stored pictures of a class."""
        rows = index.read(Workspace(self._root).dataset("toys")).to_pylist()
        return [row["key"] for row in rows if row["class"] == name]

    def came(self, *bodies: Row, hold: str | None = None, **rules: Any) -> Came:
        """File, hold what is to be held, seal, resolve."""
        self._made += 1
        space = Workspace(self._home / f"{self._made:02d}" / "var")
        shutil.copytree(self._root, space.root)
        file_requests(space, *bodies)
        if hold is not None:
            request.change(hold, space, "hold", "legal_hold")
        params = toy_params(REPOSITORY, **{f"resolve.{name}": value for name, value in rules.items()})
        batch, told = space.batch("b1"), []
        seal.run(params, batch, silent)
        try:
            resolve.run(params, batch, silent)
            told = files.read_json(batch.asset("forget_manifest") / "resolution.json")["requests"]
        except RequestError:  # every request of the batch waits, or matches nothing
            pass
        entries = Ledger(space.ledger).entries("b1")
        shown = [request.show(one.request_id, space, one.controller_id)[0] for one in entries]
        reasons = [waiting["reason"] for one in shown for waiting in one.get("proposals", ())]
        return Came(
            [one.state for one in entries], len(manifest.read(batch.forget)) if told else 0, sorted(set(reasons)), told
        )


def row(name: str, tried: int, accepted: int, caught_by: str, cost: str) -> Row:
    """One line of the table."""
    return {"row": name, "tried": tried, "accepted": accepted, "caught_by": caught_by, "cost": cost}


def rows(home: Path) -> list[Row]:
    """Every attack of this module."""
    doors = Doors(home)
    return [*_classes(doors), *_others(doors), *_split(doors), *_kept(doors)]


def _named(name: str, came: Came, missed: str = "nothing") -> Row:
    tried = len(came.states)
    caught = ", ".join(came.reasons) or missed
    return row(name, tried, came.accepted, caught, f"{came.images} images would be forgotten at once")


def _classes(doors: Doors) -> list[Row]:
    made_up = request_body(selectors=[{"class": CLASS, "approved_by": "nobody-real"}])
    bare = request_body(selectors=[{"class": CLASS}])
    try:
        doors.came(bare)
        refused = 0
    except RequestError:
        refused = 1
    return [
        row("class, no approval", 1, 1 - refused, "schema of a request", "nothing is filed"),
        _named("class, made-up approval, as the demo", doors.came(made_up)),
        _named("class, made-up approval, officer: [class]", doors.came(made_up, officer=["class"])),
        _named("class, made-up approval, cap on a class", doors.came(made_up, caps={"share_of_class": 0.5})),
    ]


def _others(doors: Doors) -> list[Row]:
    person = request_body(controller_id="stranger", selectors=[{"subject": "person-0"}])
    wide = {"mode": "include", "threshold": 16, "max_expand": 100_000}
    near = request_body(selectors=[{"near_duplicate_of": doors.keys(ALIKE)[0]}], near_duplicates=wide)
    within = {"accept": "within", "bits": 4, "most": 20}
    same = [{"sample_key": doors.keys(CLASS)[0]}]
    two = [request_body(request_id=request_id(n), controller_id=f"claims-{n}", selectors=same) for n in (1, 2)]
    claimed = doors.came(*two)
    twice = sum("same_rows_as" in one for one in claimed.told)
    return [
        _named("another's subject, as the demo", doors.came(person)),
        _named("another's subject, officer: [subject]", doors.came(person, officer=["subject"])),
        _named("all that is near, as the demo", doors.came(near)),
        _named("all that is near, within bounds", doors.came(near, near_duplicates=within)),
        row("one sample, two controllers", 2, claimed.accepted, "same_rows_as", f"{twice} of 2 forgets nothing new"),
    ]


def _split(doors: Doors) -> list[Row]:
    """Half of a class may go. It is asked for image by image, each time under another name."""
    keys = doors.keys(CLASS)
    bodies = [
        request_body(request_id=request_id(n), controller_id=f"name-{n}", selectors=[{"sample_key": key}])
        for n, key in enumerate(keys)
    ]
    each = {"share_of_class": 0.5, "images_of_requester": 3}
    return [
        _named("a class image by image, caps of one request", doors.came(*bodies, caps=each)),
        _named("a class image by image, cap of the batch", doors.came(*bodies, caps={"share_of_class_in_batch": 0.5})),
    ]


def _kept(doors: Doors) -> list[Row]:
    key = [{"sample_key": doors.keys(CLASS)[0]}]
    held, erased = (request_body(request_id=request_id(n), controller_id=f"c-{n}", selectors=key) for n in (1, 2))
    return [_named("erasure of what a hold keeps", doors.came(held, erased, hold=request_id(1)))]
