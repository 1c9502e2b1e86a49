"""What must hold of the purges: nothing of what was forgotten is stored anywhere, and everything else still works.

What is looked for is known from a second ingest of the same images, into a root that nothing was ever asked of.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.soak.home import DATA, MODEL, Home
from unlearning import digests, files
from unlearning.data import index, pictures, tombstones
from unlearning.evidence import bundle, history, lineage, promotion, purge
from unlearning.evidence.purge import Purged
from unlearning.log import silent
from unlearning.params import Params
from unlearning.requests import resolution
from unlearning.verbs import _ledger, _purge_job
from unlearning.verbs import purge as verb
from unlearning.workspace import BatchFolder

if TYPE_CHECKING:
    from tests.soak.play import Soak
    from tests.soak.table import Played

_TOO_SOON = "batches that were promoted and whose days of grace are not over"


def due(home: Home, soak: Soak) -> list[BatchFolder]:
    """The batches that stand in what is served, and whose days of grace are over."""
    lines = tuple(promotion.generations(home.workspace, MODEL))
    grace = timedelta(days=Params.read(home.params).purge.after_days)
    found = []
    for key in history.in_effect(lines):
        at = _purge_job.promoted_at(lines, home.workspace.batch(key))
        assert at is not None, key
        found += [home.workspace.batch(key)] if soak.clock.now() >= at + grace else []
    return found


def record(batch: BatchFolder) -> Purged:
    """Its purge.json, which must be there."""
    found = purge.read(batch)
    assert found is not None, f"{batch.key} was never purged"
    return found


def complete(home: Home, soak: Soak) -> str:
    """Every batch whose grace is over: record complete, nothing left, requests completed."""
    batches = due(home, soak)
    assert batches
    for batch in batches:
        said = record(batch)
        assert said.status == "complete", (batch.key, [one for one in said.locations if one.remaining])
        assert said.expires == (), (batch.key, said.expires)
        states = {entry.state for entry in _ledger.of(home.workspace).entries(batch.key)}
        assert "completed" in states, (batch.key, states)
        assert not states & {"promoted", "purging"}, (batch.key, states)
    served = history.in_effect(promotion.generations(home.workspace, MODEL))
    assert len(batches) == len(served), _TOO_SOON
    return f"{len(batches)} of {len(served)} batches, {len(_gone(batches))} images"


def no_copy(home: Home, soak: Soak) -> str:
    """By the scanner, which must find a copy that is laid there now; and by the sha256 of every file, without it."""
    gone, rows = _gone(due(home, soak)), index.read(soak.clean.dataset(DATA))
    found = verb.scan(home.workspace, [home.path], silent)
    hits = [f"{hit.path.relative_to(home.path)} {hit.inside}" for hit in found.hits]
    assert not hits, (len(hits), hits[:5])
    one = rows.filter(pc.is_in(rows["sha256"], value_set=gone["sha256"].combine_chunks())).slice(0, 1)
    (picture,) = tombstones.images(soak.clean, one)
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", compress_level=1)
    laid = home.workspace.root / "work" / "laid-there.png"
    files.write_bytes(laid, encoded.getvalue())
    again = verb.scan(home.workspace, [home.workspace.root / "work"], silent)
    laid.unlink()
    assert [hit.path for hit in again.hits] == [laid], again.hits
    wanted = set(gone["sha256"].to_pylist())
    same = [path for path in _files(home.path) if digests.of_file(path) in wanted]
    assert not same, same[:5]
    return f"{found.files} files, {len(gone)} images; {sum(found.not_looked_into.values())} files of numbers not opened"


def data_set(home: Home, soak: Soak) -> str:
    """What is stored is what was ingested, without what was purged, and every picture is the picture it was."""
    first, here = (index.read(where.dataset(DATA)) for where in (soak.clean, home.workspace))
    gone = set(_gone(due(home, soak))["key"].to_pylist())
    assert set(here["key"].to_pylist()) == set(first["key"].to_pylist()) - gone
    same = first.take(pc.index_in(here["key"], value_set=first["key"].combine_chunks()))
    stored = [pictures.pixel_sha256(image) for image in tombstones.images(home.workspace, here)]
    assert stored == same["pixel_sha256"].to_pylist()
    said = index.describe(home.workspace.dataset(DATA))["purged"]
    assert sum(one["images"] for one in said) == len(gone)
    return f"{len(first)} images ingested, {len(gone)} purged, {len(here)} stored"


def weights(home: Home, soak: Soak) -> str:
    """No file below the home holds the weights that a purged batch started from, and the served ones are there."""
    knew = {
        one.sha256
        for batch in due(home, soak)
        for one in lineage.read(batch, "original_checkpoint").outputs
        if one.path.endswith(".safetensors")
    }
    assert knew
    stored = {digests.of_file(path) for path in _files(home.path)}
    assert not knew & stored, len(knew & stored)
    return f"{len(knew)} models knew what is purged; none is stored"


def statements(home: Home, soak: Soak) -> str:
    """The signed bundle of every purged batch says what its record says; all certificates verify is another check."""
    for batch in due(home, soak):
        said, told = record(batch), bundle.of_batch(batch).purge
        assert told is not None, f"{batch.key}: the bundle says nothing of the purge"
        assert told.status == said.status == "complete", (batch.key, told.status)
        assert len(told.locations) == len(said.locations), batch.key
    return ""


def afterwards(home: Home, batches: Sequence[dict[str, Any]]) -> str:
    """Batches that were resolved on a data set which a purge had written anew, and were promoted."""
    later = []
    for one in batches:
        if one["success"]:
            said = files.read_json(home.workspace.batch(one["key"]).asset("forget_manifest") / "resolution.json")
            later += [one["key"]] if any("purged" in earlier for earlier in said.get("earlier", [])) else []
    assert later or len(batches) < 3
    return f"{len(later)} batches were made and promoted after a purge"


def interrupted(weeks: Sequence[Played]) -> str:
    """Purges that were killed or could not reach MLflow, and were finished."""
    purges = [one for week in weeks for one in week.purges]
    killed, partly = (sum(bool(one["killed_in"]) for one in purges), sum(one["status"] == "partial" for one in purges))
    assert killed or len(weeks) < 3  # grace ends in the week after
    assert partly or len(weeks) < 4
    return f"{len(purges)} runs, {killed} killed, {partly} partial before they were complete"


def not_found(soak: Soak, request_ids: Sequence[str]) -> bool:
    """Whether these requests were for images that were purged already: then nothing matched, and that is right."""
    home = soak.home
    first = index.read(soak.clean.dataset(DATA))
    gone = set(_gone(due(home, soak))["key"].to_pylist())
    for entry in _ledger.of(home.workspace).entries():
        if entry.request_id in request_ids:
            (found,) = resolution.resolve([entry.request], first)
            keys = set(first.take(pa.array(found.covered))["key"].to_pylist())
            if not keys or keys - gone:
                return False
    return True


def _gone(batches: Sequence[BatchFolder]) -> pa.Table:
    """What they forgot, each image once: key, sha256."""
    table = pa.concat_tables([pq.read_table(batch.forget, columns=["key", "sha256"]) for batch in batches])
    return table.group_by(["key", "sha256"]).aggregate([])


def _files(place: Path) -> Iterator[Path]:
    yield from (path for path in sorted(place.rglob("*")) if path.is_file() and not path.is_symlink())
