"""Each file of a certified batch is damaged in turn, in four ways: whoever verifies says so, and nothing is promoted.

A bundle that is gone is said to be missing, and its page with it; both are made anew of what was certified, so that
promotion goes on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.toy_batch import certified
from unlearning.errors import UnlearningError
from unlearning.evidence import bundle, bundle_page, promotion
from unlearning.params import Params
from unlearning.verbs import promote, verify
from unlearning.workspace import BatchFolder

REPOSITORY = Path(__file__).resolve().parents[2]
WAYS = ("one bit", "cut off", "one byte more", "gone")


def rows() -> list[dict[str, Any]]:
    """A row a way of damage: how many files, and how often it was noticed and nobody was served."""
    with tempfile.TemporaryDirectory() as home:
        params, batch = certified(Path(home), REPOSITORY)
        found = [_row(way, params, batch) for way in WAYS]
        assert promote.run(params, batch).changed  # whole again, it may be served
    return found


def _row(way: str, params: Params, batch: BatchFolder) -> dict[str, Any]:
    tried = list(_tried(way, params, batch))
    odd = [name for name, noticed in tried if not noticed]
    row = {"row": f"files of a batch, {way}", "tried": len(tried), "refused": len(tried) - len(odd)}
    return {**row, "other": len(odd), "odd": odd}


def _tried(way: str, params: Params, batch: BatchFolder) -> Iterator[tuple[str, bool]]:
    signed = bundle.file(batch)
    page = bundle_page.beside(signed)
    for path in _files(batch):
        whole, gone = path.read_bytes(), way == "gone"
        if path == page and gone:
            continue  # it is made of the bundle, and need not be there
        _damage(path, whole, way)
        remade = path == page or (path == signed and gone)
        yield path.relative_to(batch.path).as_posix(), _noticed(batch) and (remade or _refused(params, batch))
        path.write_bytes(whole)


def _files(batch: BatchFolder) -> list[Path]:
    """All but the locks and the certificate's own record, which names the certificate: nothing can name that one."""
    found = (path for path in batch.path.rglob("*") if path.is_file() and ".locks" not in path.parts)
    return sorted(path for path in found if path != batch.lineage("certificate") and path.stat().st_size)


def _damage(path: Path, whole: bytes, way: str) -> None:
    if way == "gone":
        path.unlink()
        return
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"one bit": flipped, "cut off": whole[:-1], "one byte more": whole + b"\n"}[way])


def _noticed(batch: BatchFolder) -> bool:
    try:
        found = verify.run(batch.path)
    except UnlearningError:
        return True
    return not found.verified or verify.NO_BUNDLE in found.not_checked


def _refused(params: Params, batch: BatchFolder) -> bool:
    try:
        promote.run(params, batch)
    except UnlearningError:
        return promotion.champion(batch.workspace, params.model.name) is None
    return False
