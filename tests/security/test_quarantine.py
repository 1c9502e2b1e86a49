"""A sealed process can open nothing, reach nobody and grow no further; what a picture kills is replaced."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from tests.toy_batch import png
from unlearning import _conversion_child, conversion
from unlearning.data import decoding, pictures
from unlearning.errors import CheckpointError, DataError
from unlearning.generators import _weights
from unlearning.quarantine import Child


def test_a_sealed_process_can_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        home = tmp_path / f"home-{somebody.getsockname()[1]}"
        home.mkdir()
        (home / "secret").write_text("x")
        child = Child("tests.security.sealed")
        out, _ = child.process.communicate(f"{home}\n".encode(), timeout=120)
        child.end()
    said = json.loads(out)
    files_closed, network_closed = said.pop("seal")
    assert said.pop("environment") == ["MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PATH"]
    assert said.pop("handles") == 4  # three standard ones, and the folder that lists them
    assert not said.pop("take much memory")
    if not network_closed:
        said.pop("connect")
    if not files_closed:
        pytest.skip("this kernel has no Landlock: limits and an empty environment are all there is")
    assert said == dict.fromkeys(said, False)
    assert sorted(path.name for path in home.iterdir()) == ["secret"]


def test_it_ends_when_its_processor_time_is_spent() -> None:
    child = Child("tests.security.sealed")
    child.process.communicate(b"spin\n", timeout=120)
    assert child.process.returncode == -signal.SIGXCPU
    child.end()
    assert not child.runs


def test_what_a_picture_killed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = decoding.Decoder()
    decoder.send(png(1))
    assert decoder.receive("here").tobytes() == pictures.decode(png(1), "here").tobytes()
    assert decoder.rests
    process = decoder._child.process if decoder._child else None
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)  # it hangs
    monkeypatch.setattr(decoding, "PATIENCE_S", 0.05)
    decoder.send(png(2))
    with pytest.raises(DataError, match=r"^here: its decoder was ended by what it holds: more than 1024 MiB"):
        decoder.receive("here")
    monkeypatch.undo()
    decoder.send(png(3))
    assert decoder.receive("here").size == (6, 5)
    os.kill(decoder._child.process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    decoder._child.process.wait()  # type: ignore[union-attr]
    decoder.send(png(4))
    assert decoder.receive("here").size == (6, 5)
    decoder.end()


@pytest.mark.parametrize("answer", [b"p\0\0\0\0\0\0\0\1", b"p\xff\xff\xff\xff\xff\xff\xff\xff", b"r\0\5ab", b"", b"x"])
def test_a_child_that_was_taken_over_can_only_lie(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, rest = decoding.Decoder(), bytearray(answer)

    def exactly(size: int) -> bytes:
        if len(rest) < size:
            raise EOFError
        taken = bytes(rest[:size])
        del rest[:size]
        return taken

    monkeypatch.setattr(decoder, "_exactly", exactly)
    with pytest.raises(DataError, match=r"^here: "):
        decoder.receive("here")


def test_what_it_says_is_printable(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = decoding.Decoder()
    parts = iter([b"r", b"\0\7", b"\0:\x1b[2J"])
    monkeypatch.setattr(decoder, "_exactly", lambda size: next(parts))
    with pytest.raises(DataError) as error:
        decoder.receive("here")
    assert str(error.value) == "here:?[2J"


def test_archives_come_through_as_they_are(tmp_path: Path) -> None:
    kept = {
        "half": torch.randn(3, 2).half(),
        "brain": torch.randn(2).bfloat16(),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "flag": torch.tensor([True, False, True]),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 4),
        "a": torch.randn(2, dtype=torch.float64),
    }
    for zipped in (True, False):
        path = tmp_path / f"{zipped}.pth"
        saved = {"model": kept, "args": Namespace(lr=1.0), "epoch": 3}
        torch.save(saved, path, _use_new_zipfile_serialization=zipped)
        found = _weights.read(path).tensors
        assert list(found) == list(kept)
        for name, value in kept.items():
            assert found[name].dtype == value.dtype
            assert torch.equal(found[name], value)


@pytest.mark.parametrize(
    "odd", [torch.zeros(2, dtype=torch.complex64), torch.eye(3).to_sparse(), torch.zeros(2, device="meta")]
)
def test_what_is_no_plain_tensor_is_refused(tmp_path: Path, odd: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="odd"):
        _conversion_child.write({"odd": odd}, io.BytesIO())


def test_a_tensor_that_unfolds_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    torch.save({"model": {"a": torch.zeros(1).expand(10**5, 10**5)}}, path)
    assert path.stat().st_size < 2000
    with pytest.raises(CheckpointError, match="damaged, or not readable"):
        _weights.read(path)


def test_an_old_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(1)}, path)
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(
        CheckpointError, match=r"torch 2\.9\.1\+cpu reads archives unsafely \(CVE-2026-24747\); torch 2\.10"
    ):
        _weights.read(path)
    assert conversion.torch_version() == (2, 9)
