"""One byte of a certified batch is changed, file after file: whoever verifies or promotes says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.registry import Campaign, Fault
from tests.toy_batch import certified
from unlearning.errors import UnlearningError
from unlearning.evidence import bundle, bundle_page, promotion
from unlearning.verbs import promote, verify

CHANGED = Fault(
    "changed",
    "one changed byte",
    "every file of a certified batch and of its lineage, one after the other: its first, middle and last byte",
    "`verify` names it, promotion is refused, nobody is served",
    "the certificate holds the sha256 of every file; promotion computes each of them again",
)


def test_a_changed_byte_is_named_and_nothing_is_promoted(campaign: Campaign, tmp_path: Path, repository: Path) -> None:
    params, batch = certified(tmp_path, repository)
    record = batch.lineage("certificate")  # names the certificate, which therefore cannot name it
    page = bundle_page.beside(bundle.file(batch))  # made of the bundle: it is named, and made anew
    found = sorted(path for path in batch.path.rglob("*") if path.is_file() and ".locks" not in path.parts)
    for path in (path for path in found if path not in (record, page)):
        whole = path.read_bytes()
        for place in sorted({0, len(whole) // 2, len(whole) - 1}):
            with campaign.trial(CHANGED):
                path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
                assert not _verifies(batch.path), path
                with pytest.raises(UnlearningError):
                    promote.run(params, batch)
                assert promotion.champion(batch.workspace, params.model.name) is None
        path.write_bytes(whole)
    assert promote.run(params, batch).changed  # whole again, it may be served


def _verifies(folder: Path) -> bool:
    try:
        return verify.run(folder).verified
    except UnlearningError:
        return False
