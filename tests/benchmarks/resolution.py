"""`python -m tests.benchmarks.resolution`: from 10,000 requests to a forget manifest, over ever larger indexes.

Timed is what the verb does: read and hash index.parquet, resolve every selector (keys, hashes, subjects, classes), take
in equal pixels and near duplicates, compare with every cap, write forget.parquet and read it back. A process each, so
that a peak of memory is of one size alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unlearning import digests, files
from unlearning.data import index, manifest
from unlearning.params import Params
from unlearning.process import machine
from unlearning.requests import resolution, schema
from unlearning.requests.entry import Entry
from unlearning.requests.resolution_review import scheduled
from unlearning.verbs import _reviewed
from unlearning.workspace import Workspace

RESULTS = Path(__file__).with_name("results")
REQUESTS = 10_000
PARAMS = {
    "data.name": "large",
    "resolve.near_duplicates": {"accept": "within"},
    "resolve.caps": {"share_of_data": 0.5, "share_of_class": 1.0, "images_of_request": 10_000},
}
CLASSES, IMAGES_OF_A_SUBJECT, COPIES = 1_000, 8, 50  # every COPIES-th image has the pixels of the one before it


def make(folder: Path, rows: int) -> None:
    """index.parquet and dataset.json of `rows` images that were never drawn: what resolving reads."""
    numbers = np.arange(rows)
    pixels = np.where(numbers % COPIES == 1, numbers - 1, numbers)
    table = pa.table(
        {
            "key": [f"img-{number:08d}" for number in range(rows)],
            "dataset": pa.array(["large"] * rows),
            "shard": [f"train-{number // 10_000:06d}.tar" for number in range(rows)],
            "offset": numbers % 10_000 * 4096,
            "bytes": np.full(rows, 3_000),
            "sha256": [_hash(f"bytes {number}") for number in range(rows)],
            "pixel_sha256": [_hash(f"pixels {number}") for number in pixels.tolist()],
            "class": [f"class-{number % CLASSES:04d}" for number in range(rows)],
            "subject": [f"person-{number // IMAGES_OF_A_SUBJECT:07d}" for number in range(rows)],
            "width": np.full(rows, 256, dtype=np.int32),
            "height": np.full(rows, 256, dtype=np.int32),
            "split": np.where(numbers % 25 == 0, "holdout", "train"),
        },
        schema=index.COLUMNS,
    )
    folder.mkdir(parents=True)
    index.write(folder / "index.parquet", table)
    # Of equal pixels the hashes are equal; the picture after such a pair is two bits away.
    hashes = np.random.default_rng(0).integers(0, 2**63, rows, dtype=np.uint64)[pixels]
    after = numbers[numbers % COPIES == 2]
    hashes[after] = hashes[after - 1] ^ np.uint64(0b101)
    np.save(folder / "hashes.npy", hashes.view(np.uint8).reshape(rows, 8))
    described = {
        "schema": index.SCHEMA_NAME,
        "name": "large",
        "index_sha256": digests.of_file(folder / "index.parquet"),
        "hashes_sha256": digests.of_file(folder / "hashes.npy"),
        "images": rows,
        "splits": dict(Counter(table["split"].to_pylist())),
        "classes": {},
        "shards": [],
    }
    files.write_json(folder / "dataset.json", described)


def requests(rows: int) -> list[schema.Request]:
    """Of each hundred: 50 by key, 2 with near duplicates, 24 by hash, 13 by pixels, 10 by subject, 1 by class.

    Two selectors each, and every tenth of those with near duplicates names an image that has some.
    """
    chance = np.random.default_rng(0)
    found = []
    for number in range(REQUESTS):
        one, two = (int(row) for row in chance.integers(0, rows, 2))
        kind, near = number % 100, dict[str, Any]()
        if kind < 52:
            near = {"near_duplicates": {"mode": "include", "threshold": 4}} if kind >= 50 else {}
            one = one - one % COPIES if number % 1_000 == 50 else one
            selectors: list[dict[str, str]] = [{"sample_key": f"img-{row:08d}"} for row in (one, two)]
        elif kind < 76:
            selectors = [{"content_sha256": _hash(f"bytes {row}")} for row in (one, two)]
        elif kind < 89:
            selectors = [{"pixel_sha256": _hash(f"pixels {row - (row % COPIES == 1)}")} for row in (one, two)]
        elif kind < 99:
            selectors = [{"subject": f"person-{row // IMAGES_OF_A_SUBJECT:07d}"} for row in (one, two)]
        else:
            selectors = [{"class": f"class-{one % 5:04d}", "approved_by": "privacy-officer"}]
        body = {
            "schema": schema.SCHEMA,
            "request_id": f"{number:08x}-1111-4111-8111-111111111111",
            "controller_id": "shop-1",
            "goal": "never_seen",
            "regulation": "gdpr",
            "kind": "erasure",
            "submitted_at": "2026-11-01T09:30:00Z",
            "selectors": selectors,
            **near,
        }
        found.append(schema.parse(json.dumps(body), "a request").request)
    return found


def measure(folder: Path, rows: int) -> dict[str, Any]:
    """Seconds and peak memory of one size, in this process."""
    wanted, params = requests(rows), Params.read(Path("params.yaml"), PARAMS)
    batch = Workspace(folder.parent.parent).batch("b1")
    entries = [Entry(n, "shop-1", "", "", "", "never_seen", None, "", "", "", "resolving") for n in range(len(wanted))]
    before = _peak_mib()
    start = time.perf_counter()
    table = index.read(folder)
    read = time.perf_counter()
    found = _reviewed.reviews(params, batch, table, entries, wanted)
    forget = resolution.forget_table(scheduled(found), table)
    resolved = time.perf_counter()
    manifest.write(folder / "forget.parquet", forget)
    again = manifest.read(folder / "forget.parquet")
    written = time.perf_counter()
    assert len(again) == len(forget)
    return {
        "rows": rows,
        "requests": REQUESTS,
        "forget_rows": len(forget),
        "near_rows": sum(len(one.near) for one in found),
        "in_review": sum(one.state == "in_review" for one in found),
        "seconds": round(written - start, 2),
        "read_s": round(read - start, 2),
        "resolve_s": round(resolved - read, 2),
        "write_s": round(written - resolved, 2),
        "peak_mib": round(_peak_mib()),
        "peak_before_mib": round(before),
    }


def _peak_mib() -> float:
    # Not getrusage: after exec it still holds the peak of whoever started this process.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Print a line a size, and keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 1_280_000])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # the folder of one size, in a process of its own
    options = parser.parse_args()
    if options.one is not None:
        sys.stdout.write(json.dumps(measure(options.one, options.rows[0])) + "\n")
        return
    found = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as home:
            folder = Path(home) / "data" / "large"
            make(folder, rows)
            words = [sys.executable, "-m", "tests.benchmarks.resolution", "--one", str(folder), "--rows", str(rows)]
            found.append(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
        sys.stdout.write(f"{found[-1]}\n")
        sys.stdout.flush()
    said = {"schema": "benchmark/1", "sizes": found, "machine": machine()}
    (RESULTS / "resolution.json").write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
