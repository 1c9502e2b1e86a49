"""A batch small enough for a test: tiny pictures, real verbs, and checkpoints that are only bytes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unlearning import files, gates
from unlearning.evidence import certificate, lineage
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import _asset, certify, ingest, plan, request, resolve, retain, seal
from unlearning.workspace import BatchFolder, Workspace

TOYS: dict[str, Any] = {
    "data.name": "toys",
    "data.channels": 3,
    "unlearn.method": {"kind": "noise_target"},
    "unlearn.scope": {"kind": "encoder"},
    "evaluate.profile": "none",
    "gates.attacks": {},
}
CLASSES = ("circle", "square", "triangle", "star")


def request_body(**changes: Any) -> dict[str, Any]:
    """A valid deletion request, as a controller writes it."""
    return {
        "schema": "forget-request/1",
        "request_id": "11111111-1111-4111-8111-111111111111",
        "controller_id": "shop-1",
        "goal": "unreconstructable",
        "regulation": "gdpr",
        "kind": "erasure",
        "submitted_at": "2026-11-01T09:30:00+01:00",
        "dataset": "toys",
        "selectors": [{"class": "star", "approved_by": "privacy-officer"}],
        **changes,
    }


def request_id(number: int) -> str:
    """The number-th UUID of version 4."""
    return f"{number:08x}-1111-4111-8111-111111111111"


def png(seed: int, size: tuple[int, int] = (6, 5)) -> bytes:
    """A picture that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def archive(path: Path, *entries: tuple[str, bytes], form: int = tarfile.USTAR_FORMAT) -> Path:
    """A tar of regular files."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w", format=form) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def picture_tree(root: Path, each: int = 10) -> Path:
    """CLASS/SUBJECT/picture.png, `each` pictures a class, two subjects a class."""
    for number, name in enumerate(CLASSES):
        for one in range(each):
            folder = root / name / f"person-{2 * number + one % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{one:03d}.png").write_bytes(png(1000 * number + one))
    return root


def toy_params(repository: Path, **overrides: Any) -> Params:
    """params.yaml for the toy pictures."""
    return Params.read(repository / "params.yaml", {**TOYS, **overrides})


def toy_workspace(home: Path) -> Workspace:
    """A root that holds the data set `toys`."""
    workspace = Workspace(home / "var")
    ingest.run(str(picture_tree(home / "pictures")), "toys", workspace, silent, "folder")
    return workspace


def file_requests(workspace: Workspace, *bodies: dict[str, Any]) -> None:
    """Put requests into the ledger, as the command line does."""
    path = workspace.root.parent / "requests.jsonl"
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    request.add(path, workspace)


def manifests(params: Params, batch: BatchFolder) -> None:
    """Seal, resolve, plan, retain."""
    for verb in (seal, resolve, plan, retain):
        verb.run(params, batch, silent)


def fake_training(params: Params, batch: BatchFolder, forgetting: float = 0.95) -> None:
    """Checkpoints that are only bytes, and a report on them with the scores a test wants."""
    plan.run(params, batch, silent)
    for role in ("original", "reference", "unlearned"):

        def fill(folder: Path, key: str, role: str = role) -> dict[str, Any]:
            (folder / "model.safetensors").write_bytes(f"weights of {role}, {forgetting}".encode())
            return {}

        _asset.make(f"{role}_checkpoint", params, batch, silent, fill)

    def report(folder: Path, key: str) -> dict[str, Any]:
        files.write_json(folder / "report.json", toy_report(params, batch, forgetting))
        return {}

    _asset.make("evaluation_report", params, batch, silent, report)


def toy_report(params: Params, batch: BatchFolder, forgetting: float) -> dict[str, Any]:
    """report.json as evaluate writes it, in its smallest form."""
    records = {role: lineage.read(batch, f"{role}_checkpoint") for role in ("original", "reference", "unlearned")}
    checkpoints = {role: record.sha256 for role, record in records.items()}
    measured = {
        "forgetting": forgetting,
        "forgetting_trained": forgetting,
        "retention": 0.99,
        "reference_forgetting": 1.1,
    }
    scores = {name: {"value": value, "low": value - 0.01, "high": value + 0.01} for name, value in measured.items()}
    report = {
        "schema": "report/1",
        "batch": batch.key,
        "goal": files.read_json(batch.requests.with_name("batch.json"))["goal"],
        "scores": scores,
        "checkpoints": checkpoints,
        "weights": {role: record.outputs[0].sha256 for role, record in records.items()},
        "finite": True,
    }
    before, purged = certificate.forgotten_before(batch), certificate.purged_before(batch)
    if before:  # of what is still measured nothing came back
        sets = {"forget": {"drop": {"value": 0.0, "low": -0.01, "high": 0.01}}}
        told = files.read_json(batch.asset("forget_manifest") / "resolution.json")["earlier"]
        entries = [one if "purged" in one else {"batch": one["batch"], "sets": sets} for one in told]
        report["earlier"] = {"batches": entries}
    verdict = gates.evaluate(report, params.gates, checkpoints, before, purged)
    return {**report, "verdict": verdict.word, "criteria": verdict.as_rows()}


def certified(home: Path, repository: Path, forgetting: float = 0.95) -> tuple[Params, BatchFolder]:
    """A whole batch, from pictures to certificate."""
    params, workspace = toy_params(repository), toy_workspace(home)
    batch = workspace.batch("b1")
    file_requests(workspace, request_body())
    manifests(params, batch)
    fake_training(params, batch, forgetting)
    certify.run(params, batch, silent)
    return params, batch


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below `root` but locks, by name: to say that nothing has changed."""
    found = (file for file in root.rglob("*") if file.is_file() and ".lock" not in file.as_posix())
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in found}
