"""`unlearning sequence FILE`: one deletion after the other on one model. Run it again and it goes on.

First what all methods share (manifests, original, reference), then each method's generations in order, each from the
one before; a look at those that `look_after` names. Does the forgetting of every earlier request still hold at the end?
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import unlearning
from unlearning import digests, files
from unlearning.errors import ParamsError
from unlearning.evidence import lineage
from unlearning.log import Log, Progress
from unlearning.process import machine
from unlearning.report import sequence as page
from unlearning.sequences import Deletions
from unlearning.verbs import _sequence_chain
from unlearning.workspace import Workspace

SCHEMA = "sequence/1"
FILES = ("sequence.json", "table.md", "sequence.png")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a sequence, and where it is written."""

    folder: Path
    summary: Json

    @property
    def table(self) -> str:
        """table.md."""
        return (self.folder / "table.md").read_text(encoding="utf-8")


def run(deletions: Deletions, workspace: Workspace, log: Log, command: str, only: Collection[str] = ()) -> Outcome:
    """Make every generation and every look that is not there yet, of the methods `only` or of all.

    What is there of the other methods is summed up with them. Raises ParamsError for a kind or class that does not
    exist, before anything is trained; what the verbs raise; ManifestError where a generation was made from others.
    """
    _refuse_unfit(deletions, only)
    home = _sequence_chain.home(deletions, workspace).root
    with files.locked(home / ".locks" / "sequence", f"sequence {deletions.sequence.name}"):
        _sequence_chain.base(deletions, workspace, log)
        for method in deletions.sequence.methods:
            if not only or method in only:
                _walk(deletions, method, workspace, log, command)
        return Outcome(home, write(deletions, workspace, command))


def write(deletions: Deletions, workspace: Workspace, command: str) -> Json:
    """sequence.json, table.md and sequence.png of what is there by now, in the sequence's folder."""
    home = _sequence_chain.home(deletions, workspace).root
    found = _summary(deletions, home, command)
    files.write_json(home / "sequence.json", found)
    files.write_bytes(home / "table.md", page.table(found).encode())
    files.write_bytes(home / "sequence.png", page.picture(found))
    return found


def publish(outcome: Outcome, target: Path) -> Path:
    """Copy the three files, and nothing else: no picture of the data, no path of this machine."""
    place = target / str(outcome.summary["name"])
    for name in FILES:
        files.write_bytes(place / name, (outcome.folder / name).read_bytes())
    return place


def _walk(deletions: Deletions, method: str, workspace: Workspace, log: Log, command: str) -> None:
    """One method from its first request to its last. What is kept of it is in walks/METHOD.json."""
    looker = importlib.import_module("unlearning.verbs._sequence_look")  # needs torch
    path = _walked(_sequence_chain.home(deletions, workspace).root, method)
    walked: Json = {"method": method, "key": _key(deletions, method), "generations": [], "looks": []}
    for number, name in enumerate(deletions.sequence.classes, 1):
        made = _sequence_chain.forget(deletions, method, number, workspace, log)
        cost = {"steps": made.facts["steps"], "seconds": made.facts["preparation_seconds"] + made.facts["seconds"]}
        walked["generations"].append({"generation": number, "class": name, **cost})
        if number in deletions.sequence.looks:
            walked["looks"].append(looker.look(deletions, method, number, workspace, log))
            files.write_json(path, {**walked, "machine": machine()})
            write(deletions, workspace, command)
        log(Progress(f"sequence: {method}", number, len(deletions.sequence.classes)))


def _walked(home: Path, method: str) -> Path:
    return home / "walks" / f"{method}.json"


def _key(deletions: Deletions, method: str) -> str:
    """What a walk is a function of, beside the data set."""
    plan = [deletions.params(method), deletions.base_params()]
    named = [params.model_dump(mode="json") for params in plan]
    return digests.of_value([named, deletions.sequence.classes, unlearning.__version__])


def _walks(deletions: Deletions, home: Path) -> list[Json]:
    """What is kept of every method, in their order; a walk by other parameters is not of this sequence."""
    paths = {name: _walked(home, name) for name in deletions.sequence.methods}
    found = {name: files.read_json(path) for name, path in paths.items() if path.is_file()}
    return [walk for name, walk in found.items() if walk["key"] == _key(deletions, name)]


def _summary(deletions: Deletions, home: Path, command: str) -> Json:
    """What every method's walk came to; reads only walks/*.json, so that it can be made while one still goes on."""
    sequence, walks, machines = deletions.sequence, _walks(deletions, home), list[Json]()
    for walk in walks:
        if walk["machine"] not in machines:
            machines.append(walk["machine"])
    return {
        "schema": SCHEMA,
        "name": sequence.name,
        "dataset": sequence.dataset,
        "command": command,
        "machines": machines,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": lineage.code_identity(),
        "plan": sequence.model_dump(mode="json", exclude={"source"}),
        "copy_distance": deletions.base_params().evaluate.drawn.copy_distance,
        "methods": walks,
    }


def _refuse_unfit(deletions: Deletions, only: Collection[str]) -> None:
    methods = deletions.sequence.methods
    unknown = sorted(set(only) - set(methods))
    if unknown:
        raise ParamsError(
            f"{deletions.file}: there is no method {unknown[0]!r}; methods that exist: {', '.join(methods)}"
        )
    kinds = importlib.import_module("unlearning.verbs._kinds")  # needs torch
    for method in methods:
        try:
            kinds.check(deletions.params(method))
        except ParamsError as error:
            raise ParamsError(f"{deletions.file}: method {method}: {error}") from None
