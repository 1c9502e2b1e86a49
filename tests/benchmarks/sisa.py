"""`python -m tests.benchmarks.sisa`: what an exact deletion costs, beside training everything again, on digits.

S members share one number of steps, so a full training is as long for every S. K images drawn by chance touch

    1 - (1 - 1/S)^K of the members (simulated over many draws beside it),

and a touched member is trained again from its first touched slice on. One deletion of every K is made, timed, and
compared bit for bit with the reference.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from tests.benchmarks.step import RESULTS, hardware
from tests.toy_batch import file_requests, manifests, request_body, request_id
from unlearning.data import index, manifest
from unlearning.data.sharding import Rule
from unlearning.log import silent
from unlearning.params import Params
from unlearning.training import checkpoint
from unlearning.verbs import ingest, plan, train, unlearn
from unlearning.verbs._exact import expected_share_touched
from unlearning.workspace import BatchFolder, Workspace

SHARDS, SLICES, REQUESTS = (2, 4, 8), 3, (1, 4, 16)
STEPS = 240  # of all members together
MEMBER = {"kind": "mae", "size": "tiny", "width": 48, "depth": 2}
DRAWS = 2_000  # of K images, for the simulated shares
PARAMS = Path(__file__).parents[2] / "params.yaml"


def main() -> int:
    """Print a table and keep it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sisa")
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sys.stdout.write(f"{hardware(device)}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    sys.stdout.write(
        "  S   K   touched: formula  simulated   steps: simulated  this deletion   seconds / retrain  bits\n"
    )
    with tempfile.TemporaryDirectory() as home:
        workspace = Workspace(Path(home))
        ingest.run("digits", "digits", workspace, silent)
        rows = [row for shards in SHARDS for row in _measured(shards, workspace)]
    result = {
        "command": "python -m tests.benchmarks.sisa",
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version(), "cuda": torch.version.cuda},
        "generator": _params(SHARDS[0]).generator.model_dump(mode="json")["of"],
        "steps_of_all_members": STEPS,
        "slices": SLICES,
        "draws": DRAWS,
        "rows": rows,
    }
    chosen.results.mkdir(exist_ok=True, parents=True)
    path = chosen.results / f"sisa-{device.type}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(f"kept in {path.name}\n")
    return 0


def _measured(shards: int, workspace: Workspace) -> list[dict[str, Any]]:
    """One row a K: what chance says, and one deletion."""
    params = _params(shards)
    table = manifest.only(index.read(workspace.dataset("digits")), "train")
    rule, rows, whole_s = Rule(shards, SLICES, "image", 0), list[dict[str, Any]](), 0.0
    for requests in REQUESTS:
        batch = _batch(params, workspace, table, shards, requests)
        whole_s = train.run(params, batch, silent, "original").facts.get("seconds", whole_s)  # later ones are reused
        reference = train.run(params, batch, silent, "reference")
        plan.run(params, batch, silent)
        unlearned = unlearn.run(params, batch, silent)
        bits = [checkpoint.weights_sha256(batch.asset(f"{role}_checkpoint")) for role in ("reference", "unlearned")]
        done, (touched, steps) = unlearned.facts["shards"], _simulated(rule, table, requests)
        row = {
            "shards": shards,
            "requests": requests,
            "share_touched_formula": expected_share_touched(shards, requests),
            "share_touched_simulated": touched,
            "share_of_steps_simulated": steps,
            "share_touched": done["share_touched"],
            "share_of_steps": done["share_of_steps"],
            "seconds": unlearned.facts["seconds"],
            "seconds_of_reference": reference.facts["seconds"],
            "seconds_of_full_training": whole_s,
            "bit_equal": bits[0] == bits[1],
        }
        rows.append(row)
        sys.stdout.write(_line(row) + "\n")
        sys.stdout.flush()
    return rows


def _batch(params: Params, workspace: Workspace, table: pa.Table, shards: int, requests: int) -> BatchFolder:
    """A batch of K requests, each for one image drawn by chance."""
    rng = np.random.default_rng([shards, requests])
    keys = table["key"].take(rng.choice(len(table), requests, replace=False)).to_pylist()
    first = 100 * shards + 1_000 * requests
    bodies = (
        request_body(request_id=request_id(first + number), dataset="digits", selectors=[{"sample_key": key}])
        for number, key in enumerate(keys)
    )
    file_requests(workspace, *bodies)
    batch = workspace.batch(f"s{shards}-k{requests}")
    manifests(params, batch)
    return batch


def _simulated(rule: Rule, table: pa.Table, requests: int) -> tuple[float, float]:
    """Mean share of members touched, and of steps taken again, over many draws of K images."""
    places = np.array([rule.place(group) for group in rule.groups(table)])  # [N, 2]
    rng, touched, steps = np.random.default_rng(0), 0.0, 0.0
    for _ in range(DRAWS):
        first = np.full(rule.shards, rule.slices)
        drawn = places[rng.choice(len(places), requests, replace=False)]
        np.minimum.at(first, drawn[:, 0], drawn[:, 1])
        touched += float((first < rule.slices).mean())
        steps += float((rule.slices - first).mean()) / rule.slices
    return touched / DRAWS, steps / DRAWS


def _params(shards: int) -> Params:
    """The demo's generator in shards of single images."""
    chosen: dict[str, Any] = {
        "model.name": f"digits-{shards}-shards",
        "generator": {"kind": "sharded", "of": MEMBER, "shards": shards, "slices": SLICES},
        "generator.by": "image",
        "original.steps": STEPS // shards,
        "original.batch_size": 32,
        "original.warmup_steps": STEPS // shards // 10,
        "unlearn.method": {"kind": "sisa"},
    }
    return Params.read(PARAMS, chosen)


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['shards']:>3} {row['requests']:>3}   {row['share_touched_formula']:>16.3f} "
        f"{row['share_touched_simulated']:>10.3f} {row['share_of_steps_simulated']:>18.3f} "
        f"{row['share_of_steps']:>14.3f}   {row['seconds']:>7.2f} / {row['seconds_of_full_training']:>7.2f}  "
        f"{'equal' if row['bit_equal'] else 'differ'}"
    )


if __name__ == "__main__":
    sys.exit(main())
