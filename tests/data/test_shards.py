"""Shards in: hostile ones are refused from their headers. Shards out: the same bytes, and WebDataset reads them."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toy_batch import archive, png
from unlearning.data import shards
from unlearning.errors import DataError


def special(path: Path, name: str, kind: bytes, link: str = "") -> Path:
    """A tar of one good file and one special one."""
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        tar.addfile(info)
    return path


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_read_in_order_with_their_place(tmp_path: Path, suffix: str, form: int) -> None:
    long = "train/" + "x" * 150 + ".png"
    entries = [("./a.png", b"1" * 700), ("a.json", b"{}"), ("b.c/d.left.PNG", b"2" * 512), (long, b"3")]
    if form == tarfile.USTAR_FORMAT:
        entries.pop()
    path = archive(tmp_path / f"s{suffix}", *entries, form=form)
    found = list(shards.members(path))
    assert [(member.name, member.content) for member in found] == [(n.removeprefix("./"), c) for n, c in entries]
    plain = gzip.decompress(path.read_bytes()) if suffix == ".tar.gz" else path.read_bytes()
    assert all(plain[m.offset : m.offset + len(m.content)] == m.content for m in found)
    samples = [(sample.key, sorted(sample.members)) for sample in shards.samples(path)]
    assert samples[:2] == [("a", ["json", "png"]), ("b.c/d", ["left.png"])]


def test_folders_are_passed_over(tmp_path: Path) -> None:
    path = special(tmp_path / "s.tar", "folder/", tarfile.DIRTYPE)
    assert [member.name for member in shards.members(path)] == ["a.png"]


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("b.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("b.png", tarfile.LNKTYPE, "a.png"),
        ("b.png", tarfile.CHRTYPE, ""),
        ("b.png", tarfile.BLKTYPE, ""),
        ("b.png", tarfile.FIFOTYPE, ""),
        ("../b.png", tarfile.REGTYPE, ""),
        ("a/../../b.png", tarfile.REGTYPE, ""),
        ("/b.png", tarfile.REGTYPE, ""),
        ("a\\b.png", tarfile.REGTYPE, ""),
        ("a\x07.png", tarfile.REGTYPE, ""),
        ("../folder", tarfile.DIRTYPE, ""),
        ("a.png", tarfile.REGTYPE, ""),
    ],
)
def test_a_hostile_member_is_refused_by_name(tmp_path: Path, name: str, kind: bytes, link: str) -> None:
    with pytest.raises(DataError, match=r"^s\.tar: "):
        list(shards.members(special(tmp_path / "s.tar", name, kind, link)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.tar"]


def test_a_long_name_cannot_smuggle_a_path(tmp_path: Path) -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = archive(tmp_path / "s.tar", ("../" + "x" * 150 + ".png", b"1"), form=form)
        with pytest.raises(DataError, match="leads elsewhere"):
            list(shards.members(path))


def test_a_header_that_claims_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for kind, said in ((tarfile.REGTYPE, "at most"), (tarfile.XHDTYPE, "extended header"), (b"L", "extended header")):
        info = tarfile.TarInfo("a.png")
        info.type, info.size = kind, 2**33 - 1
        path = tmp_path / "s.tar"
        path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
        with pytest.raises(DataError, match=said):
            list(shards.members(path))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_truncated_shard_is_named_wherever_it_was_cut(tmp_path: Path, suffix: str) -> None:
    whole = archive(tmp_path / f"whole{suffix}", ("a.png", b"1" * 700), ("b.png", b"2" * 100)).read_bytes()
    path = tmp_path / f"cut{suffix}"
    end = 512 + 1024 + 512 + 512  # of the last member; what follows is the end mark and padding
    for length in range(0, end if suffix == ".tar" else len(whole), 64 if suffix == ".tar" else 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"^cut\.tar.*(truncated|damaged)"):
            list(shards.members(path))


def test_what_follows_the_end_mark_is_not_passed_over(tmp_path: Path) -> None:
    path = archive(tmp_path / "s.tar", ("a.png", b"1"))
    path.write_bytes(path.read_bytes() + archive(tmp_path / "t.tar", ("b.png", b"2")).read_bytes())
    with pytest.raises(DataError, match="bytes follow its end mark"):
        list(shards.members(path))


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.binary(max_size=1500) | st.tuples(st.integers(0, 2047), st.binary(min_size=1, max_size=8)))
def test_any_bytes_give_members_or_a_typed_refusal(tmp_path_factory: pytest.TempPathFactory, bytes_: object) -> None:
    path = archive(tmp_path_factory.mktemp("s") / "s.tar", ("a.png", b"1" * 700), ("a.json", b"{}"))
    if isinstance(bytes_, bytes):
        path.write_bytes(bytes_)
    elif isinstance(bytes_, tuple):
        place, patch = bytes_
        whole = path.read_bytes()
        path.write_bytes(whole[:place] + patch + whole[place + len(patch) :])
    try:
        names = [member.name for member in shards.members(path)]
    except DataError as error:
        names = [str(error)]
        assert names[0].startswith("s.tar: ")
    assert all(".." not in name.split("/") and not name.startswith("/") for name in names)


def written(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    with shards.Writer(folder, "train") as writer:
        for n in range(count):
            writer.add(f"k{n:03d}", {"png": png(n), "json": b'{"class":"a"}'})
    return writer.paths


def test_what_is_written_is_split_and_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_SHARD_IMAGES", 4)
    one, two = (written(tmp_path / name, 10) for name in ("one", "two"))
    assert [path.name for path in one] == [f"train-00000{n}.tar" for n in range(3)]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    found = [sample for path in one for sample in shards.samples(path)]
    assert [sample.key for sample in found] == [f"k{n:03d}" for n in range(10)]
    assert [sample.members["png"].content for sample in found] == [png(n) for n in range(10)]


@pytest.mark.filterwarnings("ignore::ResourceWarning:webdataset")
def test_webdatasets_own_reader_reads_our_shards(tmp_path: Path) -> None:
    (path,) = written(tmp_path / "shards", 5)
    import webdataset

    found = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).decode("pil"))
    assert [sample["__key__"] for sample in found] == [f"k{n:03d}" for n in range(5)]
    assert found[0]["png"].size == (6, 5)
    assert found[0]["json"] == {"class": "a"}
