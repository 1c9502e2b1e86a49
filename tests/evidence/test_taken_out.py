"""What was taken out of hashed assets: listed first, never evidence, and what verifies without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import lineage, purge, verification
from unlearning.evidence.purge import Gone, Purged, Scan
from unlearning.evidence.verification import Verification
from unlearning.params import Params
from unlearning.workspace import BatchFolder, Workspace


@pytest.fixture
def params(by_hand: tuple[Params, Path]) -> Params:
    return by_hand[0]


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return str(caught.value)


def listed(asset: str, path: str = "model.safetensors") -> Gone:
    return Gone(asset, path, "0" * 64, 1, "0" * 32)


def test_what_goes_is_listed_once_in_one_order(tmp_path: Path) -> None:
    batch = Workspace(tmp_path).batch("b1")
    path = purge.folder(batch) / "files.json"
    assert purge.taken_out(batch) == ()
    purge.list_out(batch, [])
    assert not path.exists()
    report, html, weights = (
        listed("evaluation_report", "report.html"),
        listed("evaluation_report", "earlier.parquet"),
        listed("reference_checkpoint"),
    )
    purge.list_out(batch, [weights, report])
    assert purge.taken_out(batch) == (report, weights)
    before = path.stat().st_mtime_ns, path.read_bytes()
    purge.list_out(batch, [report, weights])
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    purge.list_out(batch, [weights, html])
    assert purge.taken_out(batch) == (html, report, weights)
    assert files.read_json(path) == {
        "schema": "purged-files/1", "batch": "b1", "files": [asdict(one) for one in (html, report, weights)],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({}, "'schema'"),
        ({"schema": "purged-files/2", "batch": "b1", "files": []}, "'schema, batch'"),
        ({"schema": "purged-files/1", "batch": "b2", "files": []}, "'schema, batch'"),
        ({"schema": "purged-files/1", "batch": "b1"}, "'files'"),
        (
            {"schema": "purged-files/1", "batch": "b1", "files": [{}]},
            "Gone.__init__() missing 5 required positional arguments: 'asset', 'path', 'sha256', 'bytes', and 'md5'",
        ),
    ],
)
def test_a_listing_that_is_none_says_why(tmp_path: Path, tree: Any, why: str) -> None:
    batch = Workspace(tmp_path).batch("b1")
    path = purge.folder(batch) / "files.json"
    files.write_json(path, tree)
    told = f"{path}: not a purged-files/1 listing of batch b1 ({why}); restore it"
    assert refused(lambda: purge.taken_out(batch)) == told
    assert refused(lambda: purge.list_out(batch, [listed("reference_checkpoint")])) == told


def test_evidence_is_never_taken_out(tmp_path: Path) -> None:
    batch = Workspace(tmp_path).batch("b1")
    path = purge.folder(batch) / "files.json"
    evidence = asdict(listed("certificate", "certificate.json"))
    for more in ([], [asdict(listed("reference_checkpoint"))]):
        files.write_json(path, {"schema": "purged-files/1", "batch": "b1", "files": [*more, evidence]})
        assert refused(lambda: purge.taken_out(batch)) == (
            f"{path}: certificate/certificate.json is evidence, which no purge removes"
        )


@pytest.mark.parametrize(
    ("asset", "path", "may"),
    [
        *(("evaluation_report", path, True) for path in purge._OF_REPORT),
        ("evaluation_report", "report.json", False),
        ("evaluation_report", "model.safetensors", False),
        *((f"{role}_checkpoint", "a/b.safetensors", True) for role in ("original", "reference", "unlearned")),
        ("unlearned_checkpoint", "log.jsonl", False),
        ("unlearned_checkpoint", "report.html", False),
        ("retain_proxy_set", "model.safetensors", False),
        ("retain_proxy_set", "report.html", False),
    ],
)
def test_only_pictures_tables_of_images_and_weights_may_go(asset: str, path: str, may: bool) -> None:
    assert purge.may_go(asset, path) is may


def test_an_asset_is_what_lies_there_and_what_was_taken_out(batch: BatchFolder) -> None:
    """In the order in which a folder is listed; a file that is still there is as it is there."""
    for path in ("a-b/x.safetensors", "a/x.safetensors", "a.safetensors"):
        files.write_bytes(batch.reference / path, path.encode())
    whole = purge.present(batch, "reference_checkpoint")
    assert [one.path for one in whole] == ["a/x.safetensors", "a-b/x.safetensors", "a.safetensors", "model.safetensors"]
    out = [Gone("reference_checkpoint", one.path, one.sha256, one.bytes, "0" * 32) for one in whole]
    purge.list_out(batch, [*out, listed("original_checkpoint", "other.safetensors")])
    for one in whole:
        (batch.reference / one.path).unlink()
        assert purge.present(batch, "reference_checkpoint") == whole
    files.write_bytes(batch.reference / "model.safetensors", b"another")
    found = purge.present(batch, "reference_checkpoint")
    assert found[:-1] == whole[:-1]
    assert found[-1].sha256 != whole[-1].sha256


def gone(batch: BatchFolder, role: str) -> Gone:
    (was,) = (one for one in lineage.read(batch, f"{role}_checkpoint").outputs if one.path == "model.safetensors")
    return Gone(f"{role}_checkpoint", was.path, was.sha256, was.bytes, "0" * 32)


def test_what_a_purge_took_out_is_counted_and_not_missed(batch: BatchFolder) -> None:
    purge.list_out(batch, [gone(batch, "reference"), gone(batch, "original")])
    assert verification.verify(batch.path) == Verification("b1", "issued", 13, ())
    (batch.reference / "model.safetensors").unlink()
    found = verification.verify(batch.path)
    assert found == Verification("b1", "issued", 12, (), ("reference_checkpoint/model.safetensors",))
    (batch.original / "model.safetensors").unlink()
    found = verification.verify(batch.path)
    names = ("original_checkpoint/model.safetensors", "reference_checkpoint/model.safetensors")
    assert found == Verification("b1", "issued", 11, (), names)


def test_a_listing_of_what_is_gone_that_is_none_is_said_once(batch: BatchFolder) -> None:
    path = purge.folder(batch) / "files.json"
    files.write_json(path, [])
    (batch.reference / "model.safetensors").unlink()
    found = verification.verify(batch.path)
    first, missing = found.mismatches[0], "reference_checkpoint/model.safetensors: is missing"
    assert first.startswith(f"{path}: not a purged-files/1 listing of batch b1")
    assert [line for line in found.mismatches if line == first] == [first]
    assert (missing in found.mismatches, found.purged, found.files) == (True, (), 12)


def test_a_purge_record_that_is_none_is_said(batch: BatchFolder) -> None:
    times = ("2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00")
    purge.write(batch, Purged("b2", "toys", "complete", *times, {"name": "unlearning"}, (), Scan()))
    told = f"{purge.file(batch)}: does not add up, or is about another batch; restore it"
    assert verification.verify(batch.path).mismatches == (told,)
