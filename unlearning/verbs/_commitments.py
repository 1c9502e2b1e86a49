"""The sets that a certificate commits to, by their tokens, from a batch's manifests and its data set's index."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from unlearning import digests
from unlearning.data import index
from unlearning.errors import DataError
from unlearning.evidence import commitment, lineage
from unlearning.evidence.commitment import Committed
from unlearning.workspace import BatchFolder, Workspace

SETS = ("dataset", "dataset_keys", "forget", "retain")


def of_batch(batch: BatchFolder, dataset: str, key: bytes, names: Iterable[str] = SETS) -> dict[str, Committed]:
    """Some of the four sets, by name. `dataset` is what was stored when the batch was resolved, purged since or not.

    key  of the data set, 32 bytes
    Raises DataError where a set's file, or the tokens of a data set that has changed, are missing.
    """
    return {name: _of(name, batch, dataset, key) for name in names}


def of_dataset(workspace: Workspace, dataset: str, version: str, key: bytes) -> dict[str, Committed]:
    """`dataset` and `dataset_keys` of one version: sha256 of its index, hex. Raises DataError where it is gone."""
    return {name: _of_version(name, workspace, dataset, version, key) for name in ("dataset", "dataset_keys")}


def dataset_sha256(batch: BatchFolder) -> str:
    """Which version of its data set the batch was resolved in: sha256 of the index, hex."""
    return lineage.read(batch, "forget_manifest").inputs["image_dataset"]


def _of(name: str, batch: BatchFolder, dataset: str, key: bytes) -> Committed:
    if name in ("forget", "retain"):
        return commitment.of(key, "content", _contents(batch.forget if name == "forget" else batch.retain))
    return _of_version(name, batch.workspace, dataset, dataset_sha256(batch), key)


def _of_version(name: str, workspace: Workspace, dataset: str, version: str, key: bytes) -> Committed:
    home, path = workspace.root / "commitments", workspace.dataset(dataset) / "index.parquet"

    def stored() -> Path:
        index.read(path.parent)  # for its own sentence where there is none, or a damaged one
        if digests.of_file(path) != version:
            raise DataError(
                f"data set {dataset!r} has changed since its index was {version[:12]}, and no tokens of that were "
                "kept; nothing can be said of what it held"
            )
        return path

    if name == "dataset":
        return commitment.kept(home, version, key, "content", lambda: _contents(stored()))
    return commitment.kept(home, version, key, "key", lambda: _keys(stored()))


def _contents(path: Path) -> list[bytes]:
    return [bytes.fromhex(one) for one in index.columns(path, "sha256")["sha256"].to_pylist()]


def _keys(path: Path) -> list[bytes]:
    return [sha256(one.encode()).digest() for one in index.columns(path, "key")["key"].to_pylist()]
