"""The real demo, in small: digits, a tiny generator, a budget of seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

COMMAND = (sys.executable, "-m", "pipelines.demo")


def tiny_params(repository: Path, path: Path, **gates: float) -> Path:
    """params.yaml of the demo with a budget of seconds, and other thresholds where a test wants them."""
    tree: dict[str, Any] = yaml.safe_load((repository / "params.yaml").read_text())
    budget = {"batch_size": 64, "learning_rate": 3e-3, "warmup_steps": 10, "save_every": 50}
    tree["generator"] = {"kind": "mae", "size": "tiny", "width": 48, "depth": 2}
    tree["original"] = {**budget, "steps": 250}
    tree["unlearn"]["budget"] = {**budget, "steps": 40, "learning_rate": 1e-3}
    tree["evaluate"].update(seeds=[0], bootstrap=200, max_images=120, attacked_images=32)
    tree["report"].update(show_forget_images=False, pictures=4)
    tree["gates"]["attacks"]["relearn"]["blocking"] = False  # with so short a training it says what it likes
    for name, value in gates.items():
        tree["gates"][name]["value"] = value
    path.write_text(yaml.safe_dump(tree))
    return path


def demo(repository: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m pipelines.demo`, in a folder of its own."""
    return subprocess.run([*COMMAND, *words], cwd=home, env=env(repository, home), capture_output=True, text=True)


def env(repository: Path, home: Path) -> dict[str, str]:
    """Everything below `home`, and one thread: a test is one of many things a machine does."""
    ours = {"PYTHONPATH": str(repository), "UNLEARNING_ROOT": str(home / "var"), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **ours}
