"""Every generation that was ever served under a model's name: `<root>/models/<name>/history.jsonl`, a hash chain.

    line_n = canonical({what champion.json said of generation n, "before": sha256(line_(n-1))})

champion.json is the truth; a line is a function of it, so whoever was killed between the two is finished by the next
one who promotes, rolls back or reads. A line that was changed, taken out or put in breaks the chain, and a chain that
is broken promotes nothing: who was served when is what tells which requests are forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearning import digests, files
from unlearning.errors import EvidenceError, StorageError
from unlearning.workspace import Workspace

Row = Mapping[str, Any]
_NEEDED = frozenset({"version", "checkpoint", "sha256", "batch", "certificate_sha256", "before"})


def file(workspace: Workspace, model: str) -> Path:
    """Where it lies."""
    return workspace.model(model) / "history.jsonl"


def read(workspace: Workspace, model: str) -> list[Row]:
    """Its lines, oldest first; none where there is no file. Raises EvidenceError naming the line that breaks."""
    path = file(workspace, model)
    if not path.is_file():
        return []
    found, before = list[Row](), None
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        row = _parsed(line, f"{path}, line {number}")
        if row["before"] != before or (found and row["version"] <= found[-1]["version"]):
            raise EvidenceError(
                f"{path}, line {number}: does not follow the line before it; restore the file, it is append-only"
            )
        found.append(row)
        before = digests.of_bytes(line)
    return found


def known(workspace: Workspace, model: str, champion: Row | None, lines: list[Row] | None = None) -> list[Row]:
    """Its lines, and those that champion.json is ahead of it: what `follow` would write. Writes nothing.

    champion  what champion.json says, with `previous`; None where nothing is served
    lines     as `read` gives them; by whoever holds no lock, read before champion.json was
    Raises EvidenceError where the two tell different stories.
    """
    lines = read(workspace, model) if lines is None else lines
    if champion is None:
        if lines:
            raise EvidenceError(
                f"{file(workspace, model)}: says that version {lines[-1]['version']} is served, but there is no "
                "champion.json; restore it before promoting anything"
            )
        return []
    now = _row(champion)
    ahead = [now]
    if not lines:  # a model that was promoted before there was a history begins with what is known of it
        ahead = [*([] if champion["previous"] is None else [_row(champion["previous"])]), now]
    elif lines[-1]["version"] >= now["version"]:
        if {**lines[-1], "before": None} != {**now, "before": None}:
            raise EvidenceError(
                f"{file(workspace, model)}: its last line, version {lines[-1]['version']}, is not what champion.json "
                f"says of version {now['version']}; restore the one that was changed before promoting anything"
            )
        return lines
    for row in ahead:
        before = digests.of_bytes(files.canonical(lines[-1])) if lines else None
        lines = [*lines, {**row, "before": before}]
    return lines


def follow(workspace: Workspace, model: str, champion: Row | None) -> list[Row]:
    """Bring the file to what champion.json says; its lines. Under the promotion lock. Again: nothing is written."""
    lines = known(workspace, model, champion)
    content = b"".join(files.canonical(row) + b"\n" for row in lines)
    path = file(workspace, model)
    if lines and (not path.is_file() or path.read_bytes() != content):
        files.write_bytes(path, content)
    return lines


def of_version(lines: Sequence[Row], version: int) -> Row | None:
    """What was served under that number."""
    return next((row for row in lines if row["version"] == version), None)


def in_effect(lines: Sequence[Row], version: int | None = None) -> tuple[str, ...]:
    """The batches whose forgetting stands in a version, in the order they were served; default: in the last one.

    A rollback leaves those standing that stood in the version it restored.
    """
    standing: dict[int, tuple[str, ...]] = {}
    last: tuple[str, ...] = ()
    for row in lines:
        if row.get("rollback_of") is not None:
            last = standing.get(row["rollback_of"], ())
        elif row["certificate_sha256"] is not None:
            last = (*(batch for batch in last if batch != row["batch"]), row["batch"])
        standing[row["version"]] = last
    return last if version is None else standing.get(version, ())


def undone(lines: Sequence[Row]) -> tuple[str, ...]:
    """Batches that were served once and whose forgetting no longer stands: rolled back, oldest first."""
    standing = set(in_effect(lines))
    served = [row["batch"] for row in lines if row["certificate_sha256"] is not None]
    return tuple(dict.fromkeys(batch for batch in served if batch not in standing))


def why_undone(lines: Sequence[Row], batch: str) -> str | None:
    """The reason code of the last rollback that undid the batch; None where none did."""
    for place in range(len(lines) - 1, 0, -1):
        undoes = batch in in_effect(lines[:place]) and batch not in in_effect(lines[: place + 1])
        if undoes:
            return str(lines[place].get("reason"))
    return None


def _row(champion: Row) -> dict[str, Any]:
    return {name: value for name, value in champion.items() if name not in ("previous", "before")}


def _parsed(line: bytes, where: str) -> Row:
    try:
        row = files.parse_json(line, where)
    except StorageError as error:
        raise EvidenceError(
            f"{where}: not a line of a history ({error}); restore the file, it is append-only"
        ) from None
    if not isinstance(row, Mapping) or not row.keys() >= _NEEDED or files.canonical(row) != line:
        raise EvidenceError(f"{where}: not a line of a history; restore the file, it is append-only")
    return row
