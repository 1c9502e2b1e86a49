"""Everything that a certificate says is computed again from its folder: each disagreement alone, in its sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import batch_by_hand
from unlearning import digests, files
from unlearning.errors import EvidenceError
from unlearning.evidence import certificate, lineage, verification
from unlearning.evidence.purge import Purged, Scan
from unlearning.evidence.verification import Verification
from unlearning.params import Params
from unlearning.workspace import BatchFolder, Workspace

OTHER = "0f" * 32
_EDITED = "certificate.json: not canonical JSON, it was edited"


@pytest.fixture
def params(by_hand: tuple[Params, Path]) -> Params:
    return by_hand[0]


def told(batch: BatchFolder) -> list[str]:
    found = verification.verify(batch.path)
    assert found.verified == (not found.mismatches)
    return list(found.mismatches)


def edited(path: Path, change: Callable[[Any], Any]) -> None:
    tree = json.loads(path.read_bytes())
    change(tree)
    files.write_json(path, tree)


def forged(batch: BatchFolder, params: Params, change: Callable[[Any], Any]) -> None:
    """The certificate edited, and its record with it."""
    edited(batch.certificate, change)
    batch_by_hand.recorded(batch, params, "certificate")


def test_a_whole_folder_agrees_wherever_it_lies(
    batch: BatchFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Verification("b1", "issued", 13, ())
    assert verification.verify(batch.path) == right
    assert right.not_checked == verification.NOT_CHECKED
    batch.path.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert verification.verify(Path("elsewhere")) == right


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"schema":"other/1"}'])
def test_what_is_no_folder_of_a_certified_batch(batch: BatchFolder, content: bytes | None) -> None:
    batch.certificate.unlink()
    if content is not None:
        batch.certificate.write_bytes(content)
    with pytest.raises(EvidenceError) as caught:
        verification.verify(batch.path)
    if content in (None, b"{"):
        assert str(caught.value).startswith(f"{batch.path}: not the folder of a certified batch ({batch.certificate}: ")
    else:
        assert str(caught.value) == (
            f"{batch.certificate}: not an erasure-certificate/1; the folder of a certified batch is right"
        )


@pytest.mark.parametrize("asset", [*certificate.ASSETS, "certificate"])
def test_a_record_that_is_gone_is_said_alone(batch: BatchFolder, asset: str) -> None:
    path = batch.lineage(asset)
    path.unlink()
    assert told(batch) == [f"{asset}: {path}: there is no such file"]
    path.write_bytes(b"[]")
    assert told(batch) == [f"{asset}: {path}: not a lineage record (its schema is not lineage/1)"]


def test_a_record_has_one_spelling(batch: BatchFolder) -> None:
    path = batch.lineage("retain_proxy_set")
    path.write_bytes(path.read_bytes() + b"\n")
    lines = told(batch)
    assert lines[0] == "lineage/retain_proxy_set.json: not canonical JSON, it was edited"
    (second,) = lines[1:]
    assert second.startswith("certificate.json assets.retain_proxy_set.lineage_sha256: says ")


def test_every_file_is_hashed_again(batch: BatchFolder) -> None:
    home = batch.asset("retain_proxy_set")
    before = digests.of_listing(digests.of_folder(home))
    was, now = (digests.of_bytes(content)[:12] for content in (b"kept", b"Kept"))

    def about_files() -> list[str]:
        return [line for line in told(batch) if line.startswith("retain_proxy_set")]

    def hashed() -> str:
        after = digests.of_listing(digests.of_folder(home))
        return f"retain_proxy_set: its files hash to {after[:12]}, lineage/retain_proxy_set.json says {before[:12]}"

    files.write_bytes(home / "retain.parquet", b"Kept")
    assert about_files() == [f"retain_proxy_set/retain.parquet: sha256 {now}, recorded {was}", hashed()]
    (home / "retain.parquet").unlink()
    assert about_files() == ["retain_proxy_set/retain.parquet: is missing", hashed()]
    files.write_bytes(home / "retain.parquet", b"kept")
    files.write_bytes(home / "more", b"")
    assert about_files() == ["retain_proxy_set/more: was not there when the asset was recorded", hashed()]
    (home / "more").unlink()
    assert told(batch) == []


def test_a_record_says_what_its_files_hash_to(batch: BatchFolder) -> None:
    found = lineage.read(batch, "retain_proxy_set").sha256[:12]
    edited(batch.lineage("retain_proxy_set"), lambda tree: tree.update(sha256=OTHER))
    lines = told(batch)
    assert lines[0] == (f"retain_proxy_set: its files hash to {found}, lineage/retain_proxy_set.json says 0f0f0f0f0f0f")
    assert len(lines) == 2  # and the certificate names the record's own hash


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"asset": "forget_manifest"}, "'forget_manifest' of batch 'b1'"),
        ({"batch": "b2"}, "'retain_proxy_set' of batch 'b2'"),
    ],
)
def test_a_record_is_about_its_asset_and_its_batch(batch: BatchFolder, fields: dict[str, str], said: str) -> None:
    edited(batch.lineage("retain_proxy_set"), lambda tree: tree.update(fields))
    assert told(batch)[0] == f"lineage/retain_proxy_set.json: is about {said}"


def test_an_asset_is_made_from_what_lies_there(batch: BatchFolder) -> None:
    there = lineage.read(batch, "forget_manifest").sha256[:12]
    path = batch.lineage("retain_proxy_set")
    edited(path, lambda tree: tree["inputs"].update(forget_manifest=OTHER))
    said = f"retain_proxy_set was made from forget_manifest 0f0f0f0f0f0f, but {there} lies there"
    assert told(batch)[0] == said
    edited(path, lambda tree: tree["inputs"].update(forget_manifest=lineage.read(batch, "forget_manifest").sha256))
    assert told(batch) == []
    edited(path, lambda tree: tree["inputs"].update(image_dataset=OTHER))
    assert told(batch)[0] == "the assets were not all made from one data set"


def test_an_asset_is_made_from_what_its_stage_reads(batch: BatchFolder) -> None:
    edited(batch.lineage("retain_proxy_set"), lambda tree: tree["inputs"].pop("image_dataset"))
    assert told(batch)[0] == (
        "lineage/retain_proxy_set.json: inputs are ['forget_manifest'], not ['forget_manifest', 'image_dataset']"
    )


def test_an_asset_is_made_under_the_parameters_of_the_certificate(batch: BatchFolder, params: Params) -> None:
    forged(batch, params, lambda tree: tree["params"]["retain"].update(more=1))
    assert told(batch)[0] == "retain_proxy_set was made under other parameters than the certificate's"
    assert [line for line in told(batch) if "other parameters" in line] == told(batch)[:1]
    forged(batch, params, lambda tree: tree["params"].pop("retain"))
    assert told(batch)[0] == "certificate.json: its params do not hold the sections that retain_proxy_set read"
    forged(batch, params, lambda tree: tree.update(params=7))
    assert [line for line in told(batch) if "its params do not hold" in line] == [
        f"certificate.json: its params do not hold the sections that {asset} read"
        for asset in (*certificate.ASSETS, "certificate")
        if asset != "deletion_requests"
    ]


@pytest.mark.parametrize("moment", [7, None, "", "2026-03-04", "2026-03-04T05:06:08", "x2026-03-04T05:06:08Z"])
def test_a_certificate_is_issued_at_a_time(batch: BatchFolder, params: Params, moment: Any) -> None:
    forged(batch, params, lambda tree: tree.update(issued_at=moment))
    assert told(batch) == ["certificate.json: issued_at is not a time"]


@pytest.mark.parametrize("moment", ["2026-03-04T05:06:08Z", "2026-03-04T05:06:08.25-01:00"])
def test_a_time_may_have_a_zone_and_a_fraction(batch: BatchFolder, params: Params, moment: str) -> None:
    forged(batch, params, lambda tree: tree.update(issued_at=moment))
    assert told(batch) == []


def test_a_certificate_has_one_spelling(batch: BatchFolder, params: Params) -> None:
    batch.certificate.write_bytes(batch.certificate.read_bytes()[:-1])
    batch_by_hand.recorded(batch, params, "certificate")
    assert told(batch) == [_EDITED]


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda tree: tree.update(claim_level="C3"), ["claim_level: says 'C3', the files say 'C1'"]),
        (lambda tree: tree.update(more=True), ["more: says True, the files say nothing"]),
        (lambda tree: tree.pop("goal"), ["goal: says nothing, the files say 'unreconstructable'"]),
        (lambda tree: tree["requests"].update(count=True), ["requests.count: says True, the files say 2"]),
        (lambda tree: tree["criteria"][0].update(blocking=1), ["criteria[0].blocking: says 1, the files say True"]),
        (lambda tree: tree["requests"].update(count=2.0), []),
        (
            lambda tree: tree["requests"].update(ids=[]),
            [
                "requests.ids: says [], the files say nothing",
                "requests.ids[0]: says nothing, the files say 'r-1'",
                "requests.ids[1]: says nothing, the files say 'r-2'",
            ],
        ),
        (
            lambda tree: tree["claims"].update(code={}),
            [
                "claims.code: says {}, the files say nothing",
                "claims.code.dirty: says nothing, the files say False",
                f"claims.code.revision: says nothing, the files say '{'c0' * 20}'",
                f"claims.code.source_sha256: says nothing, the files say '{OTHER}'",
                "claims.code.version: says nothing, the files say '0.1.0'",
            ],
        ),
        (lambda tree: tree.update(goal="g" * 100), [f"goal: says '{'g' * 79}, the files say 'unreconstructable'"]),
    ],
)
def test_every_leaf_is_compared(
    batch: BatchFolder, params: Params, change: Callable[[Any], Any], lines: list[str]
) -> None:
    forged(batch, params, change)
    assert told(batch) == [f"certificate.json {line}" for line in lines]


@pytest.mark.parametrize(("key", "name"), [(7, "b1"), ("b2", "b2")])
def test_a_batch_is_called_what_its_certificate_says(batch: BatchFolder, params: Params, key: Any, name: str) -> None:
    forged(batch, params, lambda tree: tree.update(batch=key))
    found = verification.verify(batch.path)
    assert (found.batch, found.verified) == (name, False)


@pytest.mark.parametrize(("status", "said"), [("x" * 30, "x" * 20), (None, "None")])
def test_a_status_is_shown_as_it_stands_there(batch: BatchFolder, params: Params, status: Any, said: str) -> None:
    forged(batch, params, lambda tree: tree.update(status=status))
    assert verification.verify(batch.path).status == said


def test_what_cannot_be_composed_again_says_why_on_one_line(
    batch: BatchFolder, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("first\n  second " + "z" * 300)

    monkeypatch.setattr(certificate, "compose", broken)
    why = " ".join(repr("first\n  second " + "z" * 300).split())[:200]
    assert told(batch) == [f"the certificate cannot be composed again from the files ({why})"]


@pytest.mark.parametrize("role", certificate.ROLES)
def test_the_report_is_about_the_weights_that_lie_there(batch: BatchFolder, params: Params, role: str) -> None:
    said = f"report.json: is about other {role} weights than {role}_checkpoint/model.safetensors"
    edited(batch.report, lambda tree: tree["weights"].update({role: OTHER}))
    batch_by_hand.recorded(batch, params, "evaluation_report")
    assert [line for line in told(batch) if line.startswith("report.json")] == [said]
    edited(batch.report, lambda tree: tree["weights"].pop(role))
    batch_by_hand.recorded(batch, params, "evaluation_report")
    assert [line for line in told(batch) if line.startswith("report.json")] == [said]


def test_a_report_that_names_no_weights_is_about_none(batch: BatchFolder, params: Params) -> None:
    edited(batch.report, lambda tree: tree.update(weights=[]))
    batch_by_hand.recorded(batch, params, "evaluation_report")
    assert len([line for line in told(batch) if line.startswith("report.json: is about other")]) == 3


def test_weights_that_are_not_there_are_not_those_of_a_report_that_names_none(
    batch: BatchFolder, params: Params
) -> None:
    (batch.original / "model.safetensors").rename(batch.original / "weights")
    batch_by_hand.recorded(batch, params, "original_checkpoint")
    batch_by_hand.report(batch, params)
    assert "report.json: is about other original weights than original_checkpoint/model.safetensors" in told(batch)


def test_what_was_purged_before_is_read_where_the_folder_lies(params: Params, tmp_path: Path) -> None:
    times = ("2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00")
    record = Purged("b0", "toys", "complete", *times, {"name": "unlearning"}, (), Scan())
    told = files.canonical({"schema": "purge/1", **asdict(record)})
    earlier = ({"batch": "b0", "purged": {"last_measured": "b0"}},)
    made = batch_by_hand.made(Workspace(tmp_path), params, earlier=earlier, manifest={"purged/b0.json": told})
    batch_by_hand.certified(made, params)
    elsewhere = made.path.rename(tmp_path / "elsewhere")
    assert verification.verify(elsewhere) == Verification("b1", "issued", 14, ())
