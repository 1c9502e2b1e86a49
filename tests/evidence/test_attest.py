"""What a batch's files say is signed once, follows them, survives a kill anywhere, and is asked for by promotion."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.evidence import sealing
from tests.toy_batch import certified, file_requests, request_body, request_id, snapshot, toy_params, toy_workspace
from unlearning import digests, files
from unlearning.data import manifest
from unlearning.errors import EvidenceError, RequestError
from unlearning.evidence import bundle, bundle_page, bundle_verification, bundle_writing, commitment, keys, log, trust
from unlearning.evidence.bundle import Bundle
from unlearning.evidence.bundle_verification import Beside, Verification
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import _set_checks, attest, countersign, promote, resolve, seal, verify
from unlearning.workspace import BatchFolder, Workspace


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Params, Path]:
    """A certified batch that is not promoted; copied before anybody writes."""
    params, batch = certified(tmp_path_factory.mktemp("issued"), repository)
    return params, batch.workspace.root


@pytest.fixture
def batch(issued: tuple[Params, Path], tmp_path: Path) -> BatchFolder:
    shutil.copytree(issued[1], tmp_path / "var")
    return Workspace(tmp_path / "var").batch("b1")


@pytest.fixture
def params(issued: tuple[Params, Path]) -> Params:
    return issued[0]


def checked(batch: BatchFolder, path: Path | None = None, **beside: Any) -> Verification:
    known = trust.load(trust.file(batch.workspace))
    return bundle_verification.verify_file(path or bundle.file(batch), known, Beside(**beside))


def held(batch: BatchFolder, path: Path | None = None, **beside: Any) -> Bundle:
    found = checked(batch, path, **beside)
    assert found.problems == ()
    assert found.bundle is not None
    return found.bundle


def logged(batch: BatchFolder) -> list[bytes]:
    return log.read(log.file(batch.workspace))


def test_what_certify_signs(batch: BatchFolder) -> None:
    made, said = held(batch, log=log.file(batch.workspace).read_bytes()), files.read_json(batch.certificate)
    assert (made.index.status, made.index.claim_level, made.index.sequence) == ("issued", "C1", 0)
    assert made.index.certificate_sha256 == digests.of_file(batch.certificate)
    assert made.index.requests == said["requests"]["ids"]
    assert made.lines[-1].statement.digest == digests.of_file(batch.unlearned / "model.safetensors")
    assert [one.group for one in made.tests] == ["integrity", "retention", "forgetting"]
    assert made.sets["forget"].counts == {
        "by.class": 1, "holdout": 2, "requests": 1, "rows": 10, "same_pixels": 0, "train": 8,
    }  # fmt: skip
    assert {name: one.size for name, one in made.sets.items()} == {
        "dataset": 40, "dataset_keys": 40, "forget": 10, "retain": 24,
    }  # fmt: skip
    assert any("both keys lie on one machine" in sentence for sentence in made.index.not_claimed)
    assert not any("hashed" in sentence for sentence in made.index.not_claimed)
    assert (made.promotion, len(logged(batch))) == (None, len(made.lines))


def test_nothing_of_a_person_is_in_it(batch: BatchFolder) -> None:
    spoken = b"".join(line.envelope.payload for line in held(batch).lines) + bundle_page.text(checked(batch)).encode()
    forget = manifest.read(batch.forget).to_pylist()
    canaries = {str(row[name]) for row in forget for name in ("key", "sha256", "pixel_sha256", "subject")}
    canaries |= {'"star"', ">star<", "person-", keys.dataset_key(batch.workspace, "toys").hex()}
    assert [canary for canary in canaries if canary.encode() in spoken] == []


def test_again_nothing_is_written(params: Params, batch: BatchFolder) -> None:
    before = snapshot(batch.workspace.root)
    assert not attest.run(params, batch, silent).changed
    assert snapshot(batch.workspace.root) == before


def test_a_promotion_makes_the_next_and_keeps_every_line(params: Params, batch: BatchFolder) -> None:
    first, content = held(batch), bundle.file(batch).read_bytes()
    promote.run(params, batch)
    second = held(batch, supersedes=content, log=log.file(batch.workspace).read_bytes())
    assert second.promotion is not None
    assert second.promotion.version == 1
    assert (second.index.sequence, second.index.supersedes) == (1, first.lines[-1].sha256)
    assert [line.text for line in second.lines[: len(first.lines) - 1]] == [line.text for line in first.lines[:-1]]
    assert not any("served anywhere" in sentence for sentence in second.index.not_claimed)
    (kept,) = (batch.path / "superseded").iterdir()
    assert kept.read_bytes() == content
    before = snapshot(batch.workspace.root)
    promote.run(params, batch)
    assert snapshot(batch.workspace.root) == before


def test_a_refusal_is_signed_too(tmp_path: Path, repository: Path) -> None:
    _, batch = certified(tmp_path, repository, forgetting=0.5)
    made = held(batch)
    assert (made.index.status, made.index.claim_level) == ("refused", "none")
    assert "Refused" in bundle_page.text(checked(batch))


def test_a_new_key_signs_anew_what_the_old_one_signed(params: Params, batch: BatchFolder) -> None:
    first = held(batch)
    keys.rotate(batch.workspace, "pipeline")
    held(batch)  # it was issued while the key before was good
    promote.run(params, batch)
    second = held(batch)
    assert [line.envelope.payload for line in second.lines[: len(first.lines) - 1]] == [
        line.envelope.payload for line in first.lines[:-1]
    ]
    assert {one.keyid for line in second.lines[:-1] for one in line.envelope.signatures} == {
        keys.signer(batch.workspace, "pipeline").key.keyid
    }


def test_what_a_revoked_key_signed_is_signed_again(params: Params, batch: BatchFolder) -> None:
    before = held(batch)
    keys.revoke(batch.workspace, keys.signer(batch.workspace, "pipeline").key.keyid, "2026-01-01T00:00:00Z")
    assert all(problem.startswith("spec 5:") for problem in checked(batch).problems)
    with pytest.raises(EvidenceError, match="was not good at"):
        promote.run(params, batch)
    keys.rotate(batch.workspace, "pipeline")
    assert attest.run(params, batch, silent).changed
    assert held(batch).index.supersedes == before.lines[-1].sha256


class Killed(BaseException):
    """As a kill -9 between two writes."""


def test_killed_between_any_two_writes_it_is_finished_by_the_next(
    params: Params, batch: BatchFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(batch.workspace.root / "log")
    for path in batch.path.glob("*.erasure.*"):
        path.unlink()
    doors: tuple[tuple[Any, str], ...] = ((files, "write_bytes"), (log, "extend"))
    for place in range(1, 12):
        copy = Workspace(Path(shutil.copytree(batch.workspace.root, tmp_path / f"kill-{place}"))).batch("b1")
        with monkeypatch.context() as patched:
            count = iter(range(1, 100))
            for module, name in doors:
                patched.setattr(module, name, _dying(getattr(module, name), count, place))
            try:
                attest.run(params, copy, silent)
            except Killed:
                pass
            else:
                break
        attest.run(params, copy, silent)
        assert held(copy, log=log.file(copy.workspace).read_bytes()).index.sequence == 0
        assert bundle_page.beside(bundle.file(copy)).is_file()
        before = snapshot(copy.workspace.root)
        assert not attest.run(params, copy, silent).changed
        assert snapshot(copy.workspace.root) == before
    assert place > 4


def _dying(door: Callable[..., Any], count: Iterator[int], place: int) -> Callable[..., Any]:
    def through(*arguments: Any, **named: Any) -> Any:
        if next(count) == place:
            raise Killed
        return door(*arguments, **named)

    return through


@pytest.mark.parametrize("spoil", [b"", b"x", b'{"a":1}\n'])
def test_what_is_no_bundle_is_not_written_over(params: Params, batch: BatchFolder, spoil: bytes) -> None:
    bundle.file(batch).write_bytes(spoil)
    with pytest.raises(EvidenceError, match="not a bundle"):
        attest.run(params, batch, silent)
    assert bundle.file(batch).read_bytes() == spoil


def test_every_byte_of_the_bundle_counts(batch: BatchFolder) -> None:
    path, known = bundle.file(batch), trust.load(trust.file(batch.workspace))
    content = path.read_bytes()
    for place in range(0, len(content), 53):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        assert bundle_verification.verify(changed, known).problems
    path.write_bytes(content[: len(content) // 2] + b"A" + content[len(content) // 2 + 1 :])
    assert not verify.run(batch.path).verified


def test_a_folder_verifies_with_its_bundle_and_says_by_whom(batch: BatchFolder, tmp_path: Path) -> None:
    found = verify.run(batch.path)
    assert (found.verified, sorted(word.split()[0] for word in found.signed_by)) == (
        True,
        ["pipeline", "privacy_officer"],
    )
    alone = Path(shutil.copytree(batch.path, tmp_path / "alone" / "handed"))
    assert any("no trust file" in what for what in verify.run(alone).not_checked)
    assert verify.run(alone, trust.file(batch.workspace)).signed_by == found.signed_by
    (alone / bundle.file(batch).name).unlink()
    assert verify.NO_BUNDLE in verify.run(alone).not_checked


def test_whoever_holds_the_key_of_the_data_set_checks_its_sets(batch: BatchFolder) -> None:
    """Beyond the signatures: the roots are those of the manifests, and of the data set as it was."""
    assert not any("set" in what.split(":")[0] for what in verify.run(batch.path).not_checked)
    (tokens,) = (batch.workspace.root / "commitments").glob("*.content.*.tokens")
    kept = tokens.read_bytes()
    tokens.write_bytes(kept[32:])
    assert "dataset: the bundle commits to another set than the files here list" in verify.run(batch.path).mismatches
    tokens.write_bytes(kept[1:])
    assert any("not a sorted list of tokens" in problem for problem in verify.run(batch.path).mismatches)
    tokens.unlink()
    found = verify.run(batch.path)
    assert (found.verified, any("the tokens of the data set" in what for what in found.not_checked)) == (True, True)
    assert not tokens.exists()  # whoever checks writes nothing
    rows = manifest.read(batch.retain)
    manifest.write(batch.retain, rows.slice(1))
    assert "retain: the bundle commits to another set than the files here list" in verify.run(batch.path).mismatches
    (key,) = batch.workspace.vault.glob("dataset-*.key")
    key.write_bytes(bytes(32))
    assert any("the data set's key" in what for what in verify.run(batch.path).not_checked)
    key.unlink()
    assert any("the data set's key" in what for what in verify.run(batch.path).not_checked)
    assert not key.exists()


def test_an_image_forgotten_was_stored_and_is_not_retained() -> None:
    one, two, three = (commitment.of(bytes(32), "content", [bytes([n]) * 32]) for n in range(3))
    both = commitment.of(bytes(32), "content", [bytes([n]) * 32 for n in (0, 1)])
    assert list(_set_checks.apart(one, two, both)) == []
    assert list(_set_checks.apart(one, both, None)) == [
        "images of the forget set that are in the retain set, too: 1; an image may have one role only"
    ]
    assert list(_set_checks.apart(three, two, both)) == [
        "images of the forget set that were not in the data set: 1; only what was stored is forgotten"
    ]


def test_nothing_is_promoted_without_a_bundle_that_is_about_it(params: Params, batch: BatchFolder) -> None:
    path = bundle.file(batch)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(EvidenceError, match="unlearning attest --batch b1"):
        promote.run(params, batch)
    path.write_bytes(content[:-2] + b"\n")
    with pytest.raises(EvidenceError, match="does not verify"):
        promote.run(params, batch)
    path.write_bytes(_about_another(batch, content))
    with pytest.raises(EvidenceError, match="is about another certificate"):
        promote.run(params, batch)
    path.write_bytes(content)
    promote.run(params, batch)


def _about_another(batch: BatchFolder, content: bytes) -> bytes:
    """The bundle with another certificate in its index, signed by the root's own keys."""
    made = bundle.read(content)
    said = {**made.index.model_dump(), "certificate_sha256": "ab" * 32}
    subject = {one.name: one.digest.sha256 for one in made.lines[-1].statement.subject}
    payloads = [*(line.envelope.payload for line in made.lines[:-1]), bundle_writing.statements.index(said, subject)]
    return bundle_writing._signed(payloads, made, bundle_writing.signers(batch.workspace))


def test_an_officer_elsewhere_is_waited_for(params: Params, batch: BatchFolder, tmp_path: Path) -> None:
    keys.init(batch.workspace, sealing.public("officer").hex().encode())
    for path in batch.path.glob("*.erasure.*"):
        path.unlink()
    made = attest.run(params, batch, silent)
    assert (made.waits, made.bundle.parent.name) == (True, "unsigned")
    before = snapshot(batch.workspace.root)
    assert not attest.run(params, batch, silent).changed
    assert snapshot(batch.workspace.root) == before
    with pytest.raises(EvidenceError, match="waits for the privacy officer"):
        promote.run(params, batch)
    officer, stranger = tmp_path / "officer.pem", tmp_path / "stranger.pem"
    for path, name in ((officer, "officer"), (stranger, "stranger")):
        path.write_bytes(_pem(name))
        path.chmod(0o600)
    with pytest.raises(EvidenceError, match="not the key of a privacy officer"):
        countersign.of_batch(batch, stranger)
    abroad = tmp_path / "signed.jsonl"
    countersign.of_file(made.bundle, officer, trust.load(trust.file(batch.workspace)), abroad)
    countersign.of_batch(batch, officer)
    assert bundle.file(batch).read_bytes() == abroad.read_bytes()
    assert not any("both keys" in sentence for sentence in held(batch).index.not_claimed)
    assert not attest.run(params, batch, silent).changed
    with pytest.raises(EvidenceError, match="nothing waits"):
        countersign.of_batch(batch, officer)
    promote.run(params, batch)  # the next one waits, and the one that holds stays in its place
    assert held(batch).promotion is None
    countersign.of_batch(batch, officer)
    assert held(batch).promotion is not None
    assert len(list((batch.path / "superseded").iterdir())) == 1


def _pem(name: str) -> bytes:
    return sealing.key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_request_that_matches_nothing_is_answered_and_signed(tmp_path: Path, repository: Path) -> None:
    params, workspace = toy_params(repository), toy_workspace(tmp_path)
    batch = workspace.batch("b1")
    nobody = [{"content_sha256": "ab" * 32}, {"subject": "nobody"}]
    file_requests(workspace, request_body(request_id=request_id(1), selectors=nobody))
    seal.run(params, batch, silent)
    with pytest.raises(RequestError, match="not_found"):
        resolve.run(params, batch, silent)
    (path,) = (batch.path / "no-match").glob("*.jsonl")
    assert path.name == f"{request_id(1)}.no-match.intoto.jsonl"
    made = held(batch, path)
    assert (made.index.status, made.index.requests) == ("no_match", [request_id(1)])
    assert made.no_match is not None
    assert [(one.kind, one.provable) for one in made.no_match.selectors] == [
        ("content_sha256", True),
        ("subject", False),
    ]
    assert b"ab" * 32 not in b"".join(line.envelope.payload for line in made.lines)
    assert "No matching data" in bundle_page.text(checked(batch, path))
    before = snapshot(workspace.root)
    assert not attest.run(params, batch, silent).changed
    assert snapshot(workspace.root) == before


def test_there_is_nothing_to_attest_before_a_certificate(params: Params, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="certify it first"):
        attest.run(params, Workspace(tmp_path).batch("b9"), silent)
