"""How every verb makes its asset: reuse what is current, work aside, appear in one rename, be recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from unlearning import files, stages
from unlearning.data import purging
from unlearning.evidence import lineage
from unlearning.evidence.lineage import Record
from unlearning.fence import Fence
from unlearning.log import Log, Progress
from unlearning.params import Params
from unlearning.stages import Stage
from unlearning.workspace import BatchFolder


def make(
    name: str, params: Params, batch: BatchFolder, log: Log, fill: Callable[[Path, str], dict[str, Any]]
) -> Record:
    """Make the asset `name`, or reuse it. `fill(folder, key)` writes its files and returns the facts to record.

    `key` addresses resumable state by content. Run the same call again after a crash to resume. Raises what `fill`
    raises, with the asset as it was, EvidenceError when an input was changed since it was made, and StorageError when
    another process is making the same asset, or has made it while this one was stopped.
    """
    stage = stages.named(name)
    what, locks = f"batch {batch.key}: {name}", batch.path / ".locks"
    with files.locked(locks / name, what):
        record = lineage.current(stage, params, batch)
        if record is not None:
            log(Progress(name, 0, 0, note=f"reused, nothing it depends on has changed ({record.sha256[:12]})"))
            return record
        with _images(stage, params, batch):
            key = lineage.key(stage, params, batch)
            lineage.require_sound_inputs(stage, batch)
            fence = Fence.take(locks / f"{name}.generation")
            for written in (batch.asset(name), batch.lineage(name)):
                files.sweep(written)
            with files.new_folder(batch.asset(name)) as folder:
                facts = fill(folder, key)
                fence.hold(what)
            fence.hold(what)  # the record of one attempt must not stand beside the files of another
            return lineage.write(stage, params, batch, facts)


@contextmanager
def _images(stage: Stage, params: Params, batch: BatchFolder) -> Iterator[None]:
    """Hold the data sets that the asset is made from: no purge may write their shards anew meanwhile."""
    with ExitStack() as held:
        if "image_dataset" in stage.inputs:
            for name in dict.fromkeys((params.data.name, params.retain.dataset or params.data.name)):
                held.enter_context(purging.reading(batch.workspace, name))
        yield
