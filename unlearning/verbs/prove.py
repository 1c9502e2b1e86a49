"""`unlearning prove`: the file that shows one person what a certificate's sets hold of their image, and nothing else.

Made from the batch's manifests and the vault's key, checked against the certificate's own roots before it is handed
out. What may be shown of an image is where it is and where it is not; of a sample's name, that the data set had none.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pyarrow.compute as pc

from unlearning import files
from unlearning.data import index
from unlearning.errors import DataError, EvidenceError, StorageError
from unlearning.evidence import bundle, keys, proofs
from unlearning.evidence.commitment import Kind
from unlearning.verbs import _commitments
from unlearning.workspace import BatchFolder

OF_IMAGE = ("forget", "retain")


def of_sample(key: str, batch: BatchFolder, sets: Sequence[str] = OF_IMAGE) -> bytes:
    """The proof about a stored image, by its key. Raises DataError where no manifest or index of the batch has it."""
    paths = (batch.forget, batch.retain, batch.workspace.dataset(_dataset(batch)) / "index.parquet")
    for path in paths:
        if path.is_file():
            table = index.columns(path, "key", "sha256")
            found = table["sha256"].filter(pc.equal(table["key"], key)).to_pylist()
            if found:
                return _proof(batch, "content", bytes.fromhex(found[0]), sets)
    raise DataError(
        f"{key[:80]!r} is no key of batch {batch.key}'s sets, nor of its data set; --image PICTURE shows "
        "the same of bytes, and --name that no sample was called so"
    )


def of_image(content: bytes, batch: BatchFolder, sets: Sequence[str] = OF_IMAGE) -> bytes:
    """The proof about an image, by its bytes, stored or not."""
    return _proof(batch, "content", sha256(content).digest(), sets)


def of_name(key: str, batch: BatchFolder) -> bytes:
    """The proof that the data set had, or had not, a sample of that key."""
    return _proof(batch, "key", sha256(key.encode()).digest(), ("dataset_keys",))


def _proof(batch: BatchFolder, kind: Kind, digest: bytes, sets: Sequence[str]) -> bytes:
    dataset = _dataset(batch)
    key = keys.dataset_key(batch.workspace, dataset)
    text = proofs.write(batch.key, key, kind, digest, _commitments.of_batch(batch, dataset, key, sets))
    wrong = proofs.problems(proofs.read(text, "the proof"), bundle.roots(batch))
    if wrong:
        raise EvidenceError(
            f"batch {batch.key}: {wrong[0]}; its manifests or the data set's key are not those that were certified, "
            "`unlearning verify` on the batch's folder tells which"
        )
    return text


def _dataset(batch: BatchFolder) -> str:
    """The data set of a batch, by what its certificate was composed under."""
    try:
        said: dict[str, Any] = files.read_json(batch.certificate)
        return str(said["params"]["data"]["name"])
    except (StorageError, KeyError, TypeError):
        raise EvidenceError(
            f"batch {batch.key} has no certificate that says which data set it is about; certify it first"
        ) from None
