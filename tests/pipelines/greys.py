"""Pictures that a few steps learn to complete: eight people, five pictures each, one grey a picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests import toy_batch
from tests.pipelines.line import Line
from unlearning.log import silent
from unlearning.verbs import ingest
from unlearning.workspace import Workspace


def root_of_greys(home: Path, database: Path) -> Workspace:
    """A root with them as the data set `toys`, and MLflow's empty tables."""
    for person in range(8):
        folder = home / "pictures" / f"class-{person // 2}" / f"person-{person}"
        folder.mkdir(parents=True)
        for number in range(5):
            rng, sink = np.random.default_rng([person, number]), io.BytesIO()
            noise = rng.integers(-4, 5, (8, 8, 3))
            Image.fromarray((rng.integers(20, 235) + noise).astype(np.uint8)).save(sink, "PNG")
            (folder / f"{number}.png").write_bytes(sink.getvalue())
    workspace = Workspace(home / "var")
    ingest.run(str(home / "pictures"), "toys", workspace, silent, "folder")
    (workspace.root / "mlflow").mkdir()
    (workspace.root / "mlflow" / "mlflow.db").write_bytes(database.read_bytes())
    return workspace


def file_for(line: Line, number: int, person: str) -> None:
    """A request for one person's pictures, as if they had never been seen."""
    wanted = {"goal": "never_seen", "selectors": [{"subject": person}]}
    toy_batch.file_requests(line.workspace, toy_batch.request_body(request_id=toy_batch.request_id(number), **wanted))
