"""Where copies of forgotten images lie under the root, and how each place is cleared. Any call may be killed anywhere.

What a place has removed is told from what it wrote down before it removed anything (dataset.json, files.json), or
added to what it said before.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from unlearning import files, quarantine
from unlearning.data import duplicates, index, libraries, manifest, purging, relocation
from unlearning.evidence import purge, suppression
from unlearning.evidence.purge import Location
from unlearning.requests import proposals
from unlearning.requests.inbox import Inbox, Letter
from unlearning.verbs import _ledger, intake
from unlearning.verbs import _purge_objects as objects
from unlearning.verbs._purge_assets import shows, take_out
from unlearning.verbs._purge_checkpoints import old_checkpoints
from unlearning.verbs._purge_job import Counted, Job, Place
from unlearning.workspace import Workspace

CACHES = ("measured", "features", "drawn", "maps", "attacks", "epsilon", "ceilings", "extractors")  # below work/
_TABLES = ("per_image.parquet", "likelihood.parquet", "earlier.parquet")
_PICTURES = ("report.html", "figures/pictures.png")
_PARTIAL = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.partial")
_APART = (libraries.DOWNLOAD, quarantine.SCRATCH)  # folders of ours in the system's own for temporary files
_TEMPORARY_S = 86_400.0  # what is younger may belong to a process that lives


def _kept(job: Job, said: Location | None) -> Counted:
    """Before anything goes: what stays to be measured, in one place, and which neighbours must not teach it again."""
    home = Workspace(purge.kept(job.batch))
    over, end = job.ends(job.params.purge.keep_for_measuring_days)
    before = 0 if said is None else said.found
    _note_near(job)
    if over:
        shutil.rmtree(home.root, ignore_errors=True)
        return Counted("delete", before)
    rows = relocation.stored(job.forget, job.workspace)
    if len(rows) and not home.dataset(job.dataset).is_dir():
        purging.keep(job.workspace, job.dataset, rows, home)
    table = job.batch.report.with_name("per_image.parquet")
    if table.is_file():
        files.write_bytes(home.root / table.name, table.read_bytes())
    remaining = len(index.read(home.dataset(job.dataset))) if home.dataset(job.dataset).is_dir() else 0
    return Counted("none", 0, remaining, end, "measured_by_later_batches" if remaining else None)


def _note_near(job: Job) -> None:
    """Remember which images that stay are near to one that goes: afterwards nothing can be compared."""
    path = purge.near(job.batch)
    if path.is_file() or not job.params.retain.duplicate:
        return
    gone = relocation.stored(job.forget, job.workspace)
    found = None
    for name in dict.fromkeys([job.dataset, job.params.retain.dataset or job.dataset]):
        rest = manifest.minus(index.read(job.workspace.dataset(name)), job.forget)
        near = rest.filter(duplicates.near(rest, gone, job.params.retain.duplicate, job.workspace, job.params.data))
        found = near if found is None else manifest.together(found, near)
    manifest.write(path, found)


def _shards(job: Job, said: Location | None) -> Counted:
    """New shards without the rows; and every feature table that was made of the index as it was."""
    folder = job.workspace.dataset(job.dataset)
    purging.recover(folder)
    before, sha256 = index.read(folder), index.describe(folder)["index_sha256"]
    removed = purging.without(job.workspace, job.dataset, job.going, job.batch.key, purge.stamp(job.now))
    purging.features_without(job.workspace, job.dataset, before, sha256, job.batch.key)
    left = len(relocation.found(job.forget, job.workspace))
    return Counted("rewrite", removed, left, None, "forgotten_by_another_batch" if left else None)


def _features(job: Job, said: Location | None) -> Counted:
    """Rows that went with the shards; and tables of an index that is gone, where a purge was killed in between."""
    rows, stale = purging.features_left(job.workspace, job.dataset, job.batch.key)
    return Counted("rewrite", max(rows + stale, 0 if said is None else said.removed))


def _tables(job: Job, said: Location | None) -> Counted:
    """Tables with a line for each image to forget; kept for measuring, the one that is read lies there too."""
    removed = take_out(job.batch, "evaluation_report", lambda path: path in _TABLES)
    for other in job.workspace.batches():
        path = other.report.with_name("earlier.parquet")
        if other.key != job.batch.key and path.is_file():
            mine = job.batch.key in index.columns(path, "batch")["batch"].to_pylist()
            removed += take_out(other, "evaluation_report", lambda path: path == "earlier.parquet") if mine else 0
    return Counted("delete", max(removed, 0 if said is None else said.removed))


def _pictures(job: Job, said: Location | None) -> Counted:
    """Pages and figures of any batch that may show one of the images: as one to forget, or, before, as one to keep."""
    removed = sum(
        take_out(other, "evaluation_report", lambda path: path in _PICTURES)
        for other in job.workspace.batches()
        if shows(other, job.forget)
    )
    return Counted("delete", max(removed, 0 if said is None else said.removed))


def _filter(job: Job, said: Location | None) -> Counted:
    """The filter that withheld pictures until the promotion: it was trained on the images to forget."""
    removed = _remove(job.batch.asset(suppression.ASSET)) + _remove(job.batch.lineage(suppression.ASSET))
    return _more(said, removed)


def _work(job: Job, said: Location | None) -> Counted:
    """Caches, whatever they are of; states of trainings that were begun before the promotion; copies of the inbox."""
    home, removed = job.workspace.root / "work", 0
    for name in CACHES:
        for path in sorted((home / name).rglob("*")):
            removed += _remove(path) if path.is_file() else 0
    for path in sorted(home.iterdir()) if home.is_dir() else ():
        old = _newest(path) < job.promoted_at.timestamp()
        state = re.fullmatch(r"[0-9a-f]{64}", path.name) is not None and old
        if state or path.name.startswith("hashes-") or (path.name.startswith("inbox-") and _is_left(path)):
            removed += _remove(path)
    return _more(said, removed)


def _proposals(job: Job, said: Location | None) -> Counted:
    """What was laid before an officer for these requests: keys, above all."""
    tasks = _ledger.of(job.workspace).entries(job.batch.key)
    return _more(said, sum(proposals.drop(job.workspace, task) for task in tasks))


def _inbox(job: Job, said: Location | None) -> Counted:
    """Files in which these requests came: the ledger holds them."""
    mine = {(one.controller_id, one.request_id) for one in _ledger.of(job.workspace).entries(job.batch.key)}
    with intake.door_of(job.workspace) as (door, scratch):
        letters = [one for one in door.taken_in() if mine & _named(door, one, scratch)]
        for letter in letters:
            door.drop(letter)
    return _more(said, len(letters))


def _named(door: Inbox, letter: Letter, scratch: Path) -> set[tuple[str, str]]:
    return {(one.request.controller_id, one.request.request_id) for one in door.read(letter, scratch)}


def _temporary(job: Job, said: Location | None) -> Counted:
    """What killed processes left: folders that were to be renamed, half-written files, downloads of an ingest."""
    removed = 0
    for home, folders, names in os.walk(job.workspace.root):
        here = Path(home)
        left = [here / ".partial" / name for name in _names(here / ".partial")] if ".partial" in folders else []
        left += [here / name for name in names if _PARTIAL.fullmatch(name)]
        removed += sum(_remove(path) for path in left if _is_left(path))
    apart = (path for name in _APART for path in sorted(Path(tempfile.gettempdir()).glob(f"{name}*")))
    ours = [path for path in apart if path.lstat().st_uid == os.getuid()]
    return _more(said, removed + sum(_remove(path) for path in ours if _is_left(path)))


def _backups(job: Job, said: Location | None) -> Counted:
    """No purge reaches a backup: only its owner knows where it is, and how long it lives."""
    days = job.params.purge.backups_expire_days
    end = None if days is None else purge.stamp(job.now + timedelta(days=days))
    if said is not None and (said.expires_at is None) == (end is None):
        end = said.expires_at  # a backup made before this purge was begun is the oldest that holds anything
    return Counted("none", 0, 0, end, "not_reached", looked=False)


def _more(said: Location | None, removed: int) -> Counted:
    return Counted("delete", removed + (0 if said is None else said.removed))


def _remove(path: Path) -> int:
    """Files that went: the one, or all below."""
    if path.is_dir() and not path.is_symlink():
        count = sum(1 for one in path.rglob("*") if one.is_file())
        shutil.rmtree(path, ignore_errors=True)
        return count
    if not path.is_file():
        return 0
    path.unlink()
    return 1


def _is_left(path: Path) -> bool:
    """Whether nobody has written there for a day."""
    return _newest(path) < time.time() - _TEMPORARY_S


def _newest(path: Path) -> float:
    """When something was last written there, seconds since 1970."""
    found = [path, *path.rglob("*")] if path.is_dir() else [path]
    moments = [one.lstat().st_mtime for one in found if one.exists()]
    return max(moments, default=0.0)


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


PLACES: Mapping[str, Place] = {  # in the order they are cleared: the images that are kept are copied first
    purge.KEPT: _kept,
    "dataset_shards": _shards,
    "feature_tables": _features,
    "batch_tables": _tables,
    "batch_pictures": _pictures,
    "interim_filter": _filter,
    "batch_work": _work,
    "proposals": _proposals,
    "inbox": _inbox,
    "old_checkpoints": old_checkpoints,
    "dvc_cache": objects.cache,
    "dvc_remote": objects.remote,
    "temporary_folders": _temporary,
    "backups": _backups,
}
