"""`python -m tests.faults [N]`: every trial (or every N-th edge, and an N-th of the kills); keeps the table.

A test that fails is kept as a row that did not survive, and the exit code is pytest's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults import registry, table
from unlearning.process import machine


def main(share: str) -> int:
    """Run them all, then write results.json and infra/faults.md."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        env = {**os.environ, registry.FULL: share, registry.RESULTS: str(results)}
        words = ["-m", "pytest", str(Path(__file__).parent), "-p", "no:cacheprovider"]
        code = subprocess.run([sys.executable, *words], env=env, cwd=table.HOME).returncode
        found = json.loads(results.read_bytes())
    kept = {"machine": machine(), "share": int(share), "faults": found}
    table.KEPT.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    table.PAGE.write_text(table.page(), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "1"))
