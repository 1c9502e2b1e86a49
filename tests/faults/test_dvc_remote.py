"""DVC's remote gone, changed or half there, and its cache changed: DVC says so, and if it does not, our sha256 does."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.resources.dvc import Dvc
from tests.faults.registry import Campaign, Fault
from tests.pipelines import dvc_project
from tests.toy_batch import toy_params
from unlearning.errors import EvidenceError
from unlearning.evidence import promotion
from unlearning.log import silent
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.verbs import promote, retain, verify
from unlearning.workspace import BatchFolder, Workspace

REMOTE = Fault(
    "dvc",
    "DVC: the remote gone, an object of it changed or missing, a cached object changed",
    "a certified batch, after its files were lost here: `dvc pull`, `dvc checkout`, `dvc push`",
    "nothing that was changed is promoted or built upon; a run goes on without a remote; whole again, it is pulled",
    "`verify = true` for the remote; what DVC hands on unseen, the sha256 of lineage and certificate refuse",
)


@dataclass(frozen=True)
class Kept:
    """A project whose batch `b1` is committed and pushed."""

    home: Path
    params: Params
    batch: BatchFolder

    def dvc(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.home / ".venv-dvc" / "bin" / "dvc"), *words]
        return subprocess.run(command, cwd=self.home, capture_output=True, text=True)

    def objects(self, path: Path) -> tuple[Path, Path]:
        """Where the bytes of a file lie in the cache and in the remote."""
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        kept = self.home / "var" / "dvc"
        cache, remote = (kept / place / "files" / "md5" / md5[:2] / md5[2:] for place in ("cache", "remote"))
        return cache, remote

    def files(self, campaign: Campaign) -> list[Path]:
        """A manifest, and as many others as the campaign wants; the certificate's own record is nobody's evidence."""
        found = sorted(path for path in self.batch.path.rglob("*") if path.is_file() and ".locks" not in path.parts)
        found.remove(self.batch.lineage("certificate"))
        first = self.batch.asset("forget_manifest") / "forget.parquet"
        return [first, *(path for path in found if path != first)][: campaign.times(1, len(found))]

    def refused(self) -> bool:
        """Whether neither `verify` nor promotion takes the batch as it lies there."""
        if verify.run(self.batch.path).verified:
            return False
        with pytest.raises(EvidenceError):
            promote.run(self.params, self.batch)
        return promotion.champion(self.batch.workspace, self.params.model.name) is None


@pytest.fixture(scope="module")
def kept(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    home = dvc_project.made(tmp_path_factory.mktemp("project"), repository)
    found = Kept(home, toy_params(home), Workspace(home / "var").batch("b1"))
    assert verify.run(found.batch.path).verified
    return found


@contextmanager
def _put_back(*paths: Path) -> Iterator[None]:
    """What a trial does to these files is undone after it."""
    before = {path: (path.read_bytes(), path.stat().st_mode) for path in paths}
    try:
        yield
    finally:
        for path, (content, mode) in before.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(content)
            path.chmod(mode)


def _changed(path: Path) -> bytes:
    """One bit of a file is another, and nobody sees that it was written to: its mode is as it was."""
    content, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    path.chmod(mode)
    return path.read_bytes()


@pytest.mark.slow
def test_a_changed_object_of_the_remote(campaign: Campaign, kept: Kept) -> None:
    """`verify = true` of .dvc/config keeps it out; without it DVC calls it up to date, and we do not."""
    local = kept.home / ".dvc" / "config.local"
    for path in kept.files(campaign):
        cache, remote = kept.objects(path)
        with campaign.trial(REMOTE), _put_back(path, cache, remote):
            changed = _changed(remote)
            path.unlink()
            cache.unlink()
            assert kept.dvc("pull").returncode == 1, path
            assert not path.exists()
            local.write_text("['remote \"local\"']\n    verify = false\n")
            remote.write_bytes(changed)  # whoever finds it changed may take it away
            assert kept.dvc("pull").returncode == 0, path
            local.unlink()
            assert path.read_bytes() == changed
            assert kept.refused(), path
            _is_not_built_upon(kept, path)
    assert kept.dvc("pull").returncode == 0
    assert verify.run(kept.batch.path).verified


def _is_not_built_upon(kept: Kept, path: Path) -> None:
    if path.name == "forget.parquet":
        proxy = kept.batch.asset("retain_proxy_set")
        aside = proxy.rename(kept.home / "aside")
        with pytest.raises(EvidenceError, match=r"not the ones lineage/forget_manifest\.json records"):
            retain.run(kept.params, kept.batch, silent)
        aside.rename(proxy)


@pytest.mark.slow
def test_a_changed_object_of_the_cache(campaign: Campaign, kept: Kept) -> None:
    """DVC trusts what it has once made read-only: only we see it."""
    for path in kept.files(campaign):
        cache, remote = kept.objects(path)
        with campaign.trial(REMOTE), _put_back(path, cache, remote):
            changed = _changed(cache)
            path.unlink()
            assert kept.dvc("checkout").returncode == 0
            assert path.read_bytes() == changed
            assert kept.refused(), path


@pytest.mark.slow
def test_half_a_push(campaign: Campaign, kept: Kept) -> None:
    """A folder's list is pushed last. Without it, or without a file that it names, nothing is pulled."""
    path = kept.batch.asset("unlearned_checkpoint") / "model.safetensors"
    cache, remote = kept.objects(path)
    [listed] = [one for one in remote.parents[1].glob("*/*.dir") if remote.parent.name + remote.name in one.read_text()]
    cached = cache.parents[1] / listed.parent.name / listed.name
    for missing, here in ((listed, cached), (remote, cache)):
        with campaign.trial(REMOTE), _put_back(path, cache, cached):
            missing.unlink()
            path.unlink()
            here.unlink()
            assert kept.dvc("pull", "unlearned_checkpoint@b1").returncode == 1
            assert kept.refused()
        listed.unlink(missing_ok=True)  # while the list is there, `dvc push` takes the files that it names for pushed
        assert kept.dvc("push", "unlearned_checkpoint@b1").returncode == 0
        assert remote.is_file()
        assert listed.is_file()
    assert verify.run(kept.batch.path).verified


@pytest.mark.slow
def test_a_remote_that_is_gone(campaign: Campaign, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept.batch.asset("unlearned_checkpoint") / "model.safetensors"
    cache, remote = kept.objects(path)
    place = kept.home / "var" / "dvc" / "remote"
    with campaign.trial(REMOTE):
        with _put_back(path, cache):
            path.unlink()
            cache.unlink()
            away = place.rename(place.with_name("away"))
            assert kept.dvc("pull").returncode == 1
            assert kept.refused()
        shutil.rmtree(place, ignore_errors=True)
        away.rename(place)
        assert remote.is_file()
    with campaign.trial(REMOTE):
        monkeypatch.setenv("UNLEARNING_DVC_REMOTE", str(kept.home / "params.yaml" / "remote"))
        said = Dvc(project=str(kept.home)).keep(kept.home / "var", kept.home / "params.yaml", "b1", list(STAGES), True)
        assert said.startswith("not kept: dvc push")
        assert "verify = true" in (kept.home / ".dvc" / "config.local").read_text()  # of a chosen remote, too
