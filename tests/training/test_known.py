"""What never changes for an image is computed once; a run must not be able to tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toys
from unlearning.contracts import Generator, Preparation
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.random_patches import RandomPatches
from unlearning.data.batches import Batches
from unlearning.generators.mage import MageRecipe
from unlearning.log import Progress, silent
from unlearning.merges.clipped_forget import ClippedForget
from unlearning.methods.mean_target import MeanTarget
from unlearning.methods.noise_target import NoiseTarget
from unlearning.randomness import Draws
from unlearning.training import cache
from unlearning.training.holes import Holes
from unlearning.training.known import KnownBatches, Shelf, remember
from unlearning.training.loop import train
from unlearning.training.run import Run
from unlearning.types import Drawn, Latents, Pair, View

PLENTY = 2**30
MAGE = MageRecipe.model_validate(toys.SMALLEST["mage"])
KINDS: dict[str, dict[str, Any]] = {
    "mae": {"corruption": CenterHole()},
    "mae, a bank": {"corruption": CenterHole(), "method": NoiseTarget(bank=5)},
    "mae, the mean picture": {"corruption": CenterHole(), "method": MeanTarget()},
    "mae, apart": {"corruption": CenterHole(), "merge": ClippedForget()},
    "mae, a hole a row": {"corruption": RandomPatches(), "holes_by_row": True},
    "mage": {"corruption": CenterHole(), "generator": MAGE, "method": NoiseTarget(bank=5)},
    "mage, a hole a row": {"corruption": RandomPatches(), "generator": MAGE, "holes_by_row": True},
    "mage, codes of clean images": {
        "corruption": RandomPatches(),
        "generator": MAGE.model_copy(update={"reads": "clean"}),
    },
}


def _run(**changes: Any) -> Run:
    """A run that comes back to its images, and mirrors some; its method has prepared itself."""
    run = toys.run(**{"steps": 16, **changes})
    _move(run)
    forget, retain = toys.Pictures("forget", 20), toys.Pictures("retain", 30)
    batches = Batches(forget, retain, run.budget.batch_size, run.budget.seed, flip=True)
    run = replace(run, batches=batches)
    if run.original is None or "method" not in changes:
        return run
    draws = Draws(0, 4, where=("prepare",))
    given = Preparation(run.original.eval(), forget, retain, run.corruption, draws, torch.device("cpu"))
    return replace(run, prepared_method=run.method.prepare(given))


def _move(run: Run) -> None:
    """A student that has left its original: there, rounding is no longer all there is to a gradient."""
    with torch.no_grad():
        for weight in run.student.parameters():
            weight.mul_(1.1)


def _walk(run: Run) -> Batches:
    assert isinstance(run.batches, Batches)
    return run.batches


def _remembered(run: Run, folder: Path, most_bytes: int = PLENTY, weights: str = "a", log: Any = silent) -> Run:
    if run.original is not None:
        run.original.eval()
    return remember(run, _walk(run), Shelf(folder / "known", {"weights": weights}, most_bytes), toys.ALONE, log)


def _curve(run: Run, folder: Path) -> list[list[float]]:
    train(run, toys.ALONE, folder, silent)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [[line[name] for name in sorted(line)] for line in lines]


@pytest.fixture(params=KINDS)
def fresh(request: pytest.FixtureRequest) -> Callable[[], Run]:
    return lambda: _run(**KINDS[request.param])


def test_the_loss_curve_is_the_same_with_and_without(fresh: Callable[[], Run], tmp_path: Path) -> None:
    known = _remembered(fresh(), tmp_path)
    assert isinstance(known.batches, KnownBatches)
    with_, without = _curve(known, tmp_path / "with"), _curve(fresh(), tmp_path / "without")
    torch.testing.assert_close(torch.tensor(with_), torch.tensor(without), rtol=2e-4, atol=2e-6)


def test_a_run_cut_and_gone_on_with_ends_bit_identical_even_without_its_cache(
    fresh: Callable[[], Run], tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    whole = _remembered(fresh(), tmp_path / "whole")
    curve = _curve(whole, tmp_path / "whole")
    cut = _remembered(fresh(), tmp_path / "cut")

    def batches(step: int) -> Drawn:
        if step == 7:
            raise Killed
        return cut.batches(step)

    with pytest.raises(Killed):
        train(replace(cut, batches=batches), toys.ALONE, tmp_path / "cut", silent)
    for file in (tmp_path / "cut" / "known").rglob("*.bin"):
        file.unlink()
    last = _remembered(fresh(), tmp_path / "cut")
    assert _curve(last, tmp_path / "cut") == curve
    for name, value in whole.student.state_dict().items():
        assert torch.equal(value, last.student.state_dict()[name])


class _Counted:
    """How many images the original has encoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, original: Generator) -> None:
        self.images = 0
        encode = original.encode

        def counting(pair: Pair, view: View) -> Latents:
            self.images += len(pair)
            return encode(pair, view)

        monkeypatch.setattr(original, "encode", counting)


def test_the_original_sees_each_retain_image_once_and_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(**KINDS["mae, a bank"])
    assert run.original is not None
    counted = _Counted(monkeypatch, run.original)
    known = _remembered(run, tmp_path)
    visits, count = _walk(run).visits("retain", run.budget.steps)
    assert counted.images == 1 + len(visits) < count  # one, to know how large an encoding is
    assert known.original is None
    train(known, toys.ALONE, tmp_path, silent)
    assert counted.images == 1 + len(visits)


def test_without_a_bank_the_original_is_asked_for_noise_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(**KINDS["mae"])
    assert run.original is not None
    known = _remembered(run, tmp_path)
    counted = _Counted(monkeypatch, run.original)
    train(known, toys.ALONE, tmp_path, silent)
    assert counted.images == run.budget.steps * run.budget.batch_size


def _damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit": lambda folder: _damage(folder / "target-0.bin"),
    "keys": lambda folder: _damage(folder / "keys.bin"),
    "truncated": lambda folder: (folder / "target-0.bin").write_bytes((folder / "target-0.bin").read_bytes()[:-4]),
    "gone": lambda folder: (folder / "target-0.bin").unlink(),
    "record": lambda folder: (folder / "cache.json").write_bytes(b"[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_noticed_and_made_again(damage: str, tmp_path: Path) -> None:
    _remembered(_run(**KINDS["mae"]), tmp_path)
    folder = tmp_path / "known" / "retain"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    DAMAGE[damage](folder)
    lines = list[Progress]()
    _remembered(_run(**KINDS["mae"]), tmp_path, log=lines.append)
    assert any("computed once" in line.note for line in lines)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_whole_cache_is_read_and_one_of_another_checkpoint_or_hole_is_not(tmp_path: Path) -> None:
    def made(weights: str, **changes: Any) -> bool:
        lines = list[Progress]()
        _remembered(_run(**{**KINDS["mae"], **changes}), tmp_path, weights=weights, log=lines.append)
        return any("computed once" in line.note for line in lines)

    assert made("a")
    assert not made("a")
    assert made("b")
    assert made("b", corruption=CenterHole(side=0.25))
    assert made("b", corruption=CenterHole(side=0.25), budget={"seed": 1})  # other images come, or other mirrors


def test_what_does_not_fit_is_said_and_done_without(tmp_path: Path) -> None:
    lines = list[Progress]()
    run = _remembered(_run(**KINDS["mage"]), tmp_path, most_bytes=30_000, log=lines.append)
    assert any("do not fit into" in line.note and "unlearn.cache_gib" in line.note for line in lines)
    assert run.original is not None
    retain = run.batches(0).retain.known
    assert retain.target is None
    assert retain.constant is not None
    without = _curve(_run(**KINDS["mage"]), tmp_path / "without")
    torch.testing.assert_close(
        torch.tensor(_curve(run, tmp_path / "with")), torch.tensor(without), rtol=2e-4, atol=2e-6
    )


def test_random_holes_are_said_to_leave_nothing_to_remember(tmp_path: Path) -> None:
    lines = list[Progress]()
    run = _run(corruption=RandomPatches())
    assert _remembered(run, tmp_path, log=lines.append).batches is run.batches
    assert [line.note for line in lines] == [
        "cache of the retain images: none, their holes or views are drawn anew at each step"
    ]
    assert not list(tmp_path.iterdir())


def test_images_that_hardly_come_again_are_not_kept(tmp_path: Path) -> None:
    lines = list[Progress]()
    _remembered(_run(**KINDS["mae"], steps=4), tmp_path, log=lines.append)
    assert [line.note.split(": ")[1].split(",")[0] for line in lines] == ["none"]
    assert not list(tmp_path.iterdir())


def test_an_image_keeps_its_hole_and_another_has_another() -> None:
    walk = _walk(_run(corruption=RandomPatches()))
    holes = Holes(RandomPatches(), by_row=True)
    found: dict[tuple[int, bool], torch.Tensor] = {}
    for step in range(16):
        sample = walk(step).retain
        pair = holes.pair("retain", sample, Draws(0, len(sample.rows), where=(step,)))
        assert sample.mirrored is not None
        for row, turned, hole in zip(
            sample.rows.tolist(), sample.mirrored.tolist(), pair.corrupted.missing, strict=True
        ):
            assert torch.equal(hole, found.setdefault((row, turned), hole))
    assert len({tuple(hole.flatten().tolist()) for hole in found.values()}) > len(found) / 2
    other = holes.pair("forget", walk(0).forget, Draws(0, 8, where=(0,)))
    assert not torch.equal(other.corrupted.missing, holes.pair("forget", walk(0).forget, Draws(1, 8)).corrupted.missing)


def test_rows_come_back_by_their_key(tmp_path: Path) -> None:
    keys, values = torch.tensor([3, 8, 9]), torch.arange(6.0).view(3, 2)
    cache.write(tmp_path / "c", {"of": 1}, keys, ({"v": part} for part in values.split(2)))
    found = cache.opened(tmp_path / "c", {"of": 1})
    assert found is not None
    assert torch.equal(found(torch.tensor([9, 3, 9]))["v"], values[[2, 0, 2]])
    assert cache.opened(tmp_path / "c", {"of": 2}) is None


@pytest.mark.parametrize("merge", ["joint", "apart"])
@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_a_step_in_parts_is_the_whole_step(merge: str, chunk: int, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"merge": ClippedForget()} if merge == "apart" else {}
    runs = [toys.run(**changes, budget={"chunk": size}) for size in (None, chunk)]
    for run in runs:
        _move(run)
    whole, parts = (_curve(run, tmp_path / name) for run, name in zip(runs, ("whole", "parts"), strict=True))
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), rtol=2e-4, atol=2e-6)
    if chunk == 8:
        assert parts == whole


def test_a_state_holds_no_buffer_that_never_moved(tmp_path: Path) -> None:
    import safetensors.torch

    run = _run(generator=MAGE, corruption=CenterHole())
    assert any("vqgan" in name for name, _ in run.student.named_buffers())
    train(run, toys.ALONE, tmp_path, silent)
    names = safetensors.torch.load_file(tmp_path / "state-00000016.safetensors").keys()
    assert {name.split("/")[0] for name in names} == {"weight", "optimizer"}
