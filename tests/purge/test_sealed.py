"""Old checkpoints under `seal`: no clear copy stays, and what is sealed opens for its officer until its day."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from infra.verifier import verify_certificate
from tests.evidence.served import NAME, promoted
from tests.purge.test_purge import LATER, counts, states
from tests.toy_batch import snapshot, toy_params
from unlearning import digests
from unlearning.__main__ import main
from unlearning.errors import EvidenceError, StorageError
from unlearning.evidence import access_log, key_files, keys, sealed_models, sealing_key, trust, verification
from unlearning.evidence import purge as record_of
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import _purge_sealed, attest, purge, rollback, unseal
from unlearning.verbs._purge_assets import md5
from unlearning.verbs._purge_places import PLACES
from unlearning.workspace import BatchFolder, Workspace

SEALED = _purge_sealed.CODE


@pytest.fixture
def params(repository: Path) -> Params:
    return toy_params(repository, **{"purge.old_checkpoints": "seal", "purge.keep_checkpoints_days": 20})


def clear_copies(workspace: Workspace, weights: bytes) -> list[Path]:
    return [path for path in workspace.root.rglob("*") if path.is_file() and weights in path.read_bytes()]


def end_of(done: purge.Done) -> datetime:
    """When the first of what remains goes."""
    return datetime.fromisoformat(done.record.expires[0])


def only(workspace: Workspace) -> Path:
    (digest,) = sealed_models.names(workspace, NAME)
    return sealed_models.file(workspace, NAME, digest)


def test_it_is_sealed_and_every_clear_copy_goes(params: Params, batch: BatchFolder) -> None:
    workspace, weights = batch.workspace, batch.original / "model.safetensors"
    clear, named = weights.read_bytes(), md5(weights)
    for home in ("cache", "remote"):
        copy = workspace.root / "dvc" / home / "files" / "md5" / named[:2] / named[2:]
        copy.parent.mkdir(parents=True)
        copy.write_bytes(clear)
    assert len(clear_copies(workspace, clear)) == 4
    done = purge.run(params, batch, silent, LATER)

    assert (counts(done)[SEALED], counts(done)["old_checkpoints"]) == ((0, 1), (2, 0))
    place = done.record.at(SEALED)
    assert place is not None
    assert place.why == "sealed_for_privacy_officer"
    assert (done.record.status, done.record.scan.hits, states(batch)) == ("complete", 0, {"purging"})
    assert clear_copies(workspace, clear) == []
    assert verification.verify(batch.path).verified
    shutil.copy(only(workspace), workspace.root / "stray")  # a sealed file is no copy, wherever it lies
    assert purge.scan(workspace, [workspace.root], silent).hits == []
    assert not purge.run(params, batch, silent, LATER + timedelta(days=1)).changed
    with pytest.raises(EvidenceError, match="version 0 was served before batch b1, which is purged"):
        rollback.run(NAME, 0, workspace, "worse_quality")


def test_the_certificate_says_what_is_sealed_and_until_when(
    params: Params, batch: BatchFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    done = purge.run(params, batch, silent, LATER)
    signed, known = attest.run(params, batch, silent).bundle, trust.file(batch.workspace)
    assert main(["verify", str(signed), "--trust", str(known)]) == 0
    assert verify_certificate.main([str(signed), "--trust", str(known)]) == 0
    payloads = [
        verify_certificate.base64.b64decode(json.loads(one)["payload"]) for one in signed.read_bytes().splitlines()
    ]
    (said,) = [one["predicate"] for one in map(json.loads, payloads) if one["predicateType"].endswith("purge:1")]
    (place,) = [one for one in said["locations"] if one["location"] == SEALED]
    assert (place["remaining"], place["expires_at"]) == (1, record_of.stamp(end_of(done)))
    capsys.readouterr()


def test_it_comes_back_for_the_officer_and_somebody_knows(params: Params, batch: BatchFolder, tmp_path: Path) -> None:
    workspace, digest = batch.workspace, digests.of_listing(digests.of_folder(batch.original))
    clear = (batch.original / "model.safetensors").read_bytes()
    key = sealing_key.private_file(workspace).rename(tmp_path / "officer.pem")  # a purge needs the public half alone
    purge.run(params, batch, silent, LATER)
    for number, version in enumerate(("0", digest, digest[:12])):
        opened = unseal.run(NAME, version, workspace, f"complaint {number}", tmp_path / f"old-{number}", key, LATER)
        assert digests.of_listing(digests.of_folder(opened.folder)) == digest
        assert (opened.folder / "model.safetensors").read_bytes() == clear
    told = unseal.listing(NAME, workspace)
    assert [(one["checkpoint"], one["versions"], one["batch"]) for one in told["sealed"]] == [(digest, [0], "b1")]
    keyid = trust.key_id(sealing_key.public(workspace))
    assert [(row["reason"], row["key"]) for row in told["opened"]] == [
        (f"complaint {number}", keyid) for number in range(3)
    ]
    assert clear_copies(workspace, clear) == []


def test_after_its_day_nobody_opens_it_and_the_next_purge_removes_it(
    params: Params, batch: BatchFolder, tmp_path: Path
) -> None:
    end = end_of(purge.run(params, batch, silent, LATER))
    path = only(batch.workspace)
    with pytest.raises(EvidenceError, match=r"expired at .*; the next purge removes it"):
        unseal.run(NAME, "0", batch.workspace, "too late", tmp_path / "old", now=end)
    over = purge.run(params, batch, silent, end)
    assert not path.exists()
    assert (counts(over)[SEALED], over.record.status, states(batch)) == ((1, 0), "complete", {"completed"})
    assert not purge.run(params, batch, silent, end + timedelta(days=1)).changed
    with pytest.raises(EvidenceError, match="'0' of digits-mae is not sealed here"):
        unseal.run(NAME, "0", batch.workspace, "too late", tmp_path / "old", now=end)


def test_what_was_kept_in_the_clear_may_be_sealed_later_and_deleted_after_all(
    params: Params, repository: Path, batch: BatchFolder
) -> None:
    keeping = toy_params(repository, **{"purge.old_checkpoints": "keep", "purge.keep_checkpoints_days": 20})
    assert counts(purge.run(keeping, batch, silent, LATER))["old_checkpoints"] == (0, 2)
    done = purge.run(params, batch, silent, LATER + timedelta(days=1))
    assert (counts(done)[SEALED], counts(done)["old_checkpoints"]) == ((0, 1), (2, 0))
    deleted = purge.run(toy_params(repository), batch, silent, LATER + timedelta(days=2))
    assert (counts(deleted)[SEALED], states(batch)) == ((1, 0), {"completed"})
    assert sealed_models.names(batch.workspace, NAME) == []


def test_each_batch_counts_what_learnt_its_images(params: Params, batch: BatchFolder) -> None:
    workspace = batch.workspace
    first = purge.run(params, batch, silent, LATER)
    (version_0,) = sealed_models.names(workspace, NAME)
    second = promoted(params, workspace, 2, "circle")
    days = timedelta(days=2)
    done = purge.run(params, second, silent, LATER + days)
    # For the second: version 1, and the reference of the first batch, which kept the circles. Version 0, sealed for the
    # first, had learnt the circles, too.
    assert counts(done)[SEALED] == (0, 3)
    new = set(sealed_models.names(workspace, NAME)) - {version_0}
    assert {header.batch for _, header in sealed_models.listed(workspace, NAME) if header.checkpoint in new} == {"b2"}
    # What the first counts is as it was: neither of the two had learnt the stars.
    assert not purge.run(params, batch, silent, LATER + days).changed
    over = purge.run(params, batch, silent, end_of(first))
    assert counts(over)[SEALED] == (1, 0)
    assert set(sealed_models.names(workspace, NAME)) == new


@pytest.mark.parametrize("code", [SEALED, "old_checkpoints"])
def test_killed_between_sealing_and_deleting_it_is_finished(params: Params, batch: BatchFolder, code: str) -> None:
    clear = (batch.original / "model.safetensors").read_bytes()
    place = {SEALED: _purge_sealed.sealed, **PLACES}[code]

    def killed(job: purge.Job, said: record_of.Location | None) -> purge.Counted:
        place(job, said)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purge.run(params, batch, silent, LATER, {code: killed})
    sealed_once = only(batch.workspace).read_bytes()
    assert bool(clear_copies(batch.workspace, clear)) == (code == SEALED)
    done = purge.run(params, batch, silent, LATER)
    assert (counts(done)[SEALED], counts(done)["old_checkpoints"][1]) == ((0, 1), 0)
    assert (done.record.status, states(batch)) == ("complete", {"purging"})
    assert only(batch.workspace).read_bytes() == sealed_once
    assert clear_copies(batch.workspace, clear) == []


@pytest.mark.parametrize("policy", ["seal", "delete"])
def test_killed_while_it_is_sealed_leaves_no_half_of_it(repository: Path, batch: BatchFolder, policy: str) -> None:
    """The half holds its key, wrapped: it goes whatever policy says by then."""
    home = sealed_models.file(batch.workspace, NAME, "0").parent
    digest = digests.of_listing(digests.of_folder(batch.original))
    home.mkdir(parents=True)
    (home / f".{digest}.sealed.4711.00000000.partial").write_bytes(b"what a killed purge had written")
    purge.run(toy_params(repository, **{"purge.old_checkpoints": policy}), batch, silent, LATER)
    left = [f"{digest}.sealed"] if policy == "seal" else []
    assert sorted(path.name for path in home.iterdir()) == [".lock", *left]


@pytest.mark.parametrize("what", ["no key", "another checkpoint", "a cut sealed file", "full disk"])
def test_what_cannot_be_sealed_removes_nothing(
    params: Params, batch: BatchFolder, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, error, say = batch.workspace, EvidenceError, "there is no key to seal old checkpoints to"
    digest = digests.of_listing(digests.of_folder(batch.original))
    if what == "no key":
        sealing_key.file(workspace).unlink()
    elif what == "another checkpoint":
        other = workspace.model(NAME) / "versions" / "0" / "model.safetensors"
        other.unlink()  # a hard link of the batch's own
        other.write_bytes(b"other weights")
        say = "versions/0: hashes to .* was recorded as"
    elif what == "a cut sealed file":
        path = sealed_models.file(workspace, NAME, digest)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"unlearning/sealed")
        say = "not a sealed checkpoint"
    else:
        error, say = StorageError, "the disk is full"
        monkeypatch.setattr("unlearning.evidence.sealing.seal", _full)
    before = snapshot(workspace.root / "data"), snapshot(workspace.root / "models"), snapshot(batch.original)
    with pytest.raises(error, match=say):
        purge.run(params, batch, silent, LATER)
    assert (snapshot(workspace.root / "data"), snapshot(workspace.root / "models"), snapshot(batch.original)) == before
    assert record_of.begun(batch) == (what != "no key")
    if what == "no key":
        keys.init(workspace)  # as its sentence says
        assert counts(purge.run(params, batch, silent, LATER))[SEALED] == (0, 1)


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def _refusals(batch: BatchFolder, home: Path) -> list[tuple[str, Callable[[], object]]]:
    """What a refusal says, and how it comes about."""
    workspace, there = batch.workspace, home / "there"
    there.mkdir()
    key_files.write_secret(home / "signing.pem", key_files.fresh())
    other = Workspace(home / "elsewhere")
    keys.init(other)

    def tried(version: str = "0", reason: str = "why", to: Path = home / "new", key: Path | None = None) -> object:
        return unseal.run(NAME, version, workspace, reason, to, key, LATER)

    return [
        ("a reason is one line of 1 to 200 letters", lambda: tried(reason=" ")),
        ("a reason is one line of 1 to 200 letters", lambda: tried(reason="two\nlines")),
        ("a reason is one line of 1 to 200 letters", lambda: tried(reason="x" * 201)),
        ("is there already", lambda: tried(to=there)),
        ("is no folder; make it first", lambda: tried(to=home / "no" / "where")),
        ("lies below the root", lambda: tried(to=workspace.root / "old")),
        ("lies below the root", lambda: tried(to=workspace.vault / "sealed" / "old")),
        ("'1' of digits-mae is not sealed here", lambda: tried("1")),
        ("'7' of digits-mae is not sealed here", lambda: tried("7")),
        ("'abc' of digits-mae is not sealed here", lambda: tried("abc")),
        ("sealed to key .*; the one given is", lambda: tried(key=sealing_key.private_file(other))),
        ("not an X25519 private key", lambda: tried(key=home / "signing.pem")),
        ("there is no such key", lambda: tried(key=home / "none.pem")),
    ]


def test_a_refusal_leaves_nothing_behind(params: Params, batch: BatchFolder, tmp_path: Path) -> None:
    purge.run(params, batch, silent, LATER)
    home = tmp_path / "officer"
    home.mkdir()
    refusals = _refusals(batch, home)
    before = snapshot(home), snapshot(batch.workspace.root)
    for say, refused in refusals:
        with pytest.raises(EvidenceError, match=say):
            refused()
    assert (snapshot(home), snapshot(batch.workspace.root)) == before
    assert sorted(path.name for path in home.iterdir()) == ["elsewhere", "signing.pem", "there"]
    assert access_log.read(batch.workspace) == []


def test_a_changed_file_leaves_no_clear_byte_and_a_line(params: Params, batch: BatchFolder, tmp_path: Path) -> None:
    purge.run(params, batch, silent, LATER)
    path = only(batch.workspace)
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    home = tmp_path / "officer"
    home.mkdir()
    with pytest.raises(EvidenceError, match="was changed since it was sealed"):
        unseal.run(NAME, "0", batch.workspace, "why", home / "old", now=LATER)
    assert list(home.iterdir()) == []
    assert [row["reason"] for row in access_log.read(batch.workspace)] == ["why"]


def test_a_sealed_file_under_anothers_name_is_refused(params: Params, batch: BatchFolder, tmp_path: Path) -> None:
    purge.run(params, batch, silent, LATER)
    only(batch.workspace).rename(sealed_models.file(batch.workspace, NAME, "a" * 64))
    with pytest.raises(EvidenceError, match="is about another checkpoint than its name says"):
        unseal.run(NAME, "a" * 64, batch.workspace, "why", tmp_path / "old", now=LATER)
