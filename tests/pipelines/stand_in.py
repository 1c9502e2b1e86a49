"""A verb of training that does what a test asks, in a compute process that imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

STAND_IN = '''
"""Put before the real verb of training by the interpreter itself: no torch, and it does what the test asks."""
import json, os, select, signal, sys, types
from pathlib import Path

def run(params, batch, log, role):
    from unlearning.errors import DataError
    from unlearning.log import Progress
    from unlearning.verbs import _asset
    wish, told = os.environ["TEST_WISH"], Path(os.environ["TEST_TOLD"])
    name = f"{role}_checkpoint"
    def fill(folder, key):
        log(Progress(name, 1, 2, {"loss": 0.5}))
        if wish == "refuse":
            raise DataError("shard a.tar is truncated at byte 512; fetch it again")
        if wish == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if wish == "wait":
            with told.open("w") as pipe:
                try:  # from the first byte on: the signal comes as soon as the test has read it
                    pipe.write("started\\n")
                    pipe.flush()
                    while True:  # a signal just before the wait is heard after it
                        select.select([], [], [], 0.1)
                finally:
                    pipe.write("left\\n")
        log(Progress(name, 2, 2, {"loss": 0.25}))
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "checkpoint.json").write_text("{}")
        return {"steps": 2, "ranks": os.environ.get("WORLD_SIZE", "1")}
    if os.environ.get("RANK", "0") != "0":
        return None
    return _asset.make(name, params, batch, log, fill)

module = types.ModuleType("unlearning.verbs.train")
module.run = run
sys.modules["unlearning.verbs.train"] = module
'''


@pytest.fixture(name="wish")
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say what the verb of the child does; the child finds it through its interpreter's own start-up hook."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(hook))
    monkeypatch.setenv("TEST_TOLD", str(tmp_path / "told"))

    def ask(what: str) -> None:
        monkeypatch.setenv("TEST_WISH", what)

    return ask
