"""Train from random weights: the original on every training image, the reference without what is or was forgotten.

Both are naive deletion with nothing, or the forget set, deleted: same generator, same budget, same seed. An original
that was published is converted instead; its reference is trained here, with the published parts that never train.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unlearning import digests, files
from unlearning.contracts import GeneratorRecipe
from unlearning.errors import CheckpointError, EvidenceError, ParamsError, StorageError
from unlearning.evidence import lineage
from unlearning.evidence.lineage import Record
from unlearning.generators.sharded import ShardedRecipe
from unlearning.log import Log, Progress
from unlearning.methods.naive_deletion import NaiveDeletion
from unlearning.params import Params
from unlearning.stages import STAGES
from unlearning.training import checkpoint
from unlearning.training.parallel import World
from unlearning.verbs import _exact, _published, _scratch, _served
from unlearning.verbs._kinds import check
from unlearning.verbs._together import Fitted, Train, make_together
from unlearning.workspace import BatchFolder


def run(params: Params, batch: BatchFolder, log: Log, role: str) -> Record:
    """Make original_checkpoint or reference_checkpoint. Run again after a crash to resume.

    The original is the served champion where there is one (see `_original`). Raises ParamsError, ManifestError,
    DataError or CheckpointError, with the asset as it was.
    """
    check(params)
    if role not in ("original", "reference"):
        raise ParamsError(f"train: there is no role {role!r}; original or reference is right")

    def fit(world: World, key: str, log: Log) -> Fitted:
        return _fit(params, batch, role, world, key, log)

    def fill(folder: Path, key: str, train: Train) -> dict[str, Any]:
        return _original(params, batch, log, folder, key, train) if role == "original" else train(folder)

    return make_together(f"{role}_checkpoint", params, batch, log, fit, fill)


def _fit(params: Params, batch: BatchFolder, role: str, world: World, key: str, log: Log) -> Fitted:
    recipe = GeneratorRecipe.chosen(params.generator, "generator")
    if isinstance(recipe, ShardedRecipe):
        if role == "original":
            return _exact.original(params, batch, recipe, world, key, log)
        return _exact.reference(params, batch, recipe, _start_of_deletion(params, batch), world, key, log)
    forget = [] if role == "original" else _served.forgotten(batch)
    return _scratch.fit(_scratch.without(params, batch, role, NaiveDeletion(), *forget), params, batch, world, key, log)


def _original(params: Params, batch: BatchFolder, log: Log, folder: Path, key: str, train: Train) -> dict[str, Any]:
    """The model that is served now; where none is, the published one, or one trained here, kept for later batches.

    A batch that has an original keeps to where it came from: once its own result is served, that is not its original.
    """
    pinned = _pinned(batch)
    home = batch.workspace.model(params.model.name)
    if pinned is not None and pinned.facts.get("source") == "champion":
        _link(params, batch.original, folder)
        return pinned.facts
    if pinned is None and (home / "champion.json").exists():
        return _champion(params, batch, log, folder, home)
    recipe = GeneratorRecipe.chosen(params.generator, "generator")
    published = _published.read(params, recipe)
    if published is not None and published.whole:
        base = _published.converted(params, recipe, published, home, log)
        _link(params, base, folder)
        return dict(checkpoint.describe(base)["facts"])
    base, told = home / "base" / key, home / "base" / f"{key}.json"
    try:
        checkpoint.load(base, expected=recipe)
        log(Progress("original_checkpoint", 0, 0, note=f"the base trained before is reused ({key[:12]})"))
        # As they were told when it was trained: a run that was killed before its record leaves no other one.
        facts = files.read_json(told) if told.is_file() else checkpoint.describe(base)["facts"]
    except CheckpointError:
        with files.new_folder(base) as partial:
            facts = train(partial)
            files.write_json(told, facts)
    _link(params, base, folder)
    return {**facts, "source": "trained", "base": key}


def _start_of_deletion(params: Params, batch: BatchFolder) -> Path | None:
    """What `_original` gives this batch: the one it has or the champion. None: one trained on the whole data set."""
    home, pinned = batch.workspace.model(params.model.name), _pinned(batch)
    if pinned is None:
        return _serving(batch, home)[0] if (home / "champion.json").exists() else None
    stays = pinned.facts.get("source") == "champion"
    return batch.original if stays or lineage.current(STAGES[pinned.asset], params, batch) is not None else None


def _champion(params: Params, batch: BatchFolder, log: Log, folder: Path, home: Path) -> dict[str, Any]:
    """Link the served checkpoint. Raises CheckpointError."""
    served, sha256, version = _serving(batch, home)
    _link(params, served, folder)
    log(Progress("original_checkpoint", 0, 0, note=f"the champion, version {version} ({sha256[:12]})"))
    return {"source": "champion", "version": version, "champion_sha256": sha256}


def _serving(batch: BatchFolder, home: Path) -> tuple[Path, str, int]:
    """Folder, sha256 and version of the served checkpoint. Raises CheckpointError if its files are others by now."""
    where = home / "champion.json"
    try:
        described = files.read_json(where)
        path, sha256, version = described["checkpoint"], described["sha256"], described["version"]
        served = (batch.workspace.root / path).resolve()
    except (StorageError, KeyError, TypeError) as error:
        raise CheckpointError(f"{where}: not a champion with checkpoint, sha256 and version ({error})") from None
    if not served.is_relative_to(batch.workspace.root.resolve()):
        raise CheckpointError(f"{where}: the checkpoint {path!r} lies outside the root; a path below it is right")
    found = digests.of_listing(digests.of_folder(served))
    if found != sha256:
        raise CheckpointError(
            f"{served}: its files are not those that were promoted as version {version} (sha256 {found[:12]}, "
            f"promoted {str(sha256)[:12]}); restore them, or promote a good version"
        )
    return served, found, version


def _link(params: Params, source: Path, folder: Path) -> None:
    """Every file of a checkpoint under a second name, if it is the model that params.yaml describes."""
    checkpoint.load(source, expected=GeneratorRecipe.chosen(params.generator, "generator"))
    described, data = checkpoint.describe(source), params.data
    if (described["image_size"], described["channels"]) != (data.image_size, data.channels):
        raise CheckpointError(
            f"{source}: for images of {described['image_size']} pixels and {described['channels']} channels; "
            f"params.yaml has {data.image_size} and {data.channels}"
        )
    for file in digests.of_folder(source):
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        files.link_or_copy(source / file.path, folder / file.path)


def _pinned(batch: BatchFolder) -> Record | None:
    """The record of the original that this batch has, if its files are whole."""
    try:
        record = lineage.read(batch, "original_checkpoint")
    except (StorageError, EvidenceError):
        return None
    return record if lineage.intact(record, batch) else None
