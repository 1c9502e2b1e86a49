"""What a study needs torch for. Loaded by name, so that whoever only reads a study never imports it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch

from unlearning import digests, files, process
from unlearning.contracts import Corruption
from unlearning.data import index, manifest
from unlearning.data.images import ImageSet
from unlearning.log import Log
from unlearning.metrics import _ceiling
from unlearning.metrics._ceiling import Sight
from unlearning.params import Params
from unlearning.studies import Ceiling
from unlearning.verbs._kinds import check
from unlearning.workspace import BatchFolder, Workspace

__all__ = ["ceiling", "check", "machine", "memory"]


def machine() -> dict[str, Any]:
    """`process.machine`, with torch and the accelerator."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {**process.machine(), "torch": torch.__version__, "threads": torch.get_num_threads(), "accelerator": device}


def memory() -> dict[str, float | None]:
    """The most this process has held so far, MiB: on the host (all of it, code too), and in tensors on the device."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    device = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    return {"host_mib": round(host, 1), "device_mib": None if device is None else round(device, 1)}


def ceiling(params: Params, batch: BatchFolder, home: Workspace, plan: Ceiling, target: Path, log: Log) -> None:
    """What a classifier of T(x) recognises of the forget classes on held-out images, as JSON at `target`.

    Its weights are kept under `home`, by everything they are a function of: two things to forget share one classifier.
    """
    forget = manifest.read(batch.forget)
    data_set = index.read(batch.workspace.dataset(params.data.name))
    table, held_out = (manifest.only(data_set, split) for split in ("train", "holdout"))
    corruption = Corruption.chosen(params.evaluate.corruption or params.corruption, "evaluate.corruption")
    names = sorted(set(table["class"].to_pylist()))
    content = [table["sha256"].to_pylist(), table["class"].to_pylist(), params.section_digest("data")]
    made_of = digests.of_value([content, corruption.model_dump(mode="json"), plan.model_dump(), _ceiling.VERSION])
    wanted = digests.of_value([made_of, forget["sha256"].to_pylist(), held_out["sha256"].to_pylist()])
    if target.is_file() and files.read_json(target)["key"] == wanted:
        return
    cache = home.work("ceilings") / f"{made_of}.safetensors"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sight = Sight(names, corruption, plan.steps, plan.batch_size, plan.learning_rate, params.data.flip, device)
    with files.locked(cache.with_suffix(".lock"), "the ceiling's classifier", wait=True):
        labels = table["class"].to_pylist()
        network = sight.trained(ImageSet(table, batch.workspace, params.data), labels, cache, log)
    known = held_out.filter(pc.is_in(held_out["class"], pc.unique(table["class"])))
    logits = sight.logits(network, ImageSet(known, batch.workspace, params.data))
    gone = set(forget["class"].to_pylist())
    found = _ceiling.recognised(logits, known["class"].to_pylist(), names, gone)
    files.write_json(target, {"key": wanted, **found, "train_images": len(table), "steps": plan.steps})
