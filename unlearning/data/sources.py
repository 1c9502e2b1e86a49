"""Where images come from: shards, a folder of pictures, scikit-learn's digits, a torchvision or Hugging Face name.

Each source is walked twice (once to look, once to store), gives the same items in the same order both times, and says
what it is in `facts`, which hold no path of this machine.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from PIL import Image

from unlearning import digests, json_text
from unlearning.data import pictures, shards
from unlearning.data.shards import Sample
from unlearning.errors import DataError

Split: TypeAlias = Literal["train", "holdout"]

HOLDOUT_NAMES = frozenset({"test", "val", "valid", "validation", "holdout", "dev", "eval"})
TRAIN_NAMES = frozenset({"train", "training"})
MAX_NAME = 128  # characters of a class or subject
MAX_TEXT = 2**16  # bytes of a sample's .json or .cls


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a source, with what the source says about it. `key` and `origin` may hold anything."""

    key: str
    extension: str
    content: bytes
    label: str  # class, "" where there is none
    subject: str  # "" where there is none
    origin: str  # where in the source, stored beside the image and nowhere else
    split: Split | None  # None: the source has no split of its own
    foreign: bool = True  # False: this process has encoded it itself, from pixels


class Source(Protocol):
    """Anything that can be walked for items, always in the same order."""

    @property
    def facts(self) -> dict[str, Any]:
        """What it is, with a sha256 or a version: equal facts = the same images."""
        ...

    def __len__(self) -> int:
        """How many items at most, for the progress bar."""
        ...

    def __iter__(self) -> Iterator[Item]: ...


def opened(address: str, subject_from: str = "none") -> Source:
    """The source that `address` names. Raises DataError naming what is accepted.

    subject_from: `none`, `class` (each class is one person, say), `folder` (CLASS/SUBJECT/picture), or a field of the
    sample's JSON.
    """
    from unlearning.data import libraries

    if address == "digits":
        return libraries.Digits(subject_from)
    if address.startswith("torchvision:"):
        return libraries.TorchVision(address.removeprefix("torchvision:"), subject_from)
    if address.startswith("hf:"):
        return libraries.HuggingFace(address.removeprefix("hf:"), subject_from)
    path = Path(address)
    if _is(path.is_dir):
        found = sorted(file for file in path.iterdir() if file.is_file() and shards.is_shard(file))
        return ShardFolder(found, subject_from) if found else PictureFolder(path, subject_from)
    if _is(path.is_file) and shards.is_shard(path):
        return ShardFolder([path], subject_from)
    raise DataError(
        f"{address[:200]}: no such source; a folder of .tar/.tar.gz shards, a folder CLASS/picture, `digits`, "
        "`torchvision:NAME` or `hf:NAME` is right"
    )


def _is(asked: Callable[[], bool]) -> bool:
    try:
        return asked()
    except OSError:  # no path of this system at all: too long, say
        return False


class ShardFolder:
    """WebDataset shards: `key.png|jpg|webp…`, with `key.cls` and `key.json` (`class_name`, …) where there are any."""

    def __init__(self, paths: list[Path], subject_from: str) -> None:
        self._paths, self._subject_from = paths, subject_from
        self._count: int | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Names and sha256 of the shards."""
        listing = [[path.name, digests.of_file(path)] for path in self._paths]
        return {
            "kind": "shards",
            "subject_from": self._subject_from,
            "shards": len(listing),
            "sha256": digests.of_value(listing),
        }

    def __len__(self) -> int:
        if self._count is None:  # one more walk, without decoding: a damaged shard is found before any work is done
            self._count = sum(1 for path in self._paths for _ in shards.samples(path))
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for path in self._paths:
            split = _split_of(path.name.split(".")[0].replace("_", "-").split("-"))
            for sample in shards.samples(path):
                yield self._item(path.name, sample, split)

    def _item(self, shard: str, sample: Sample, split: Split | None) -> Item:
        where = f"{shard}: sample {sample.key[:80]!r}"
        images = sorted(sample.members.keys() & pictures.EXTENSIONS)
        if len(images) != 1:
            raise DataError(f"{where} has {len(images)} pictures ({', '.join(images) or 'none'}); one is right")
        said = _json(sample, where)
        named = said.get("class_name") or _text(sample, "cls", where) or _text(sample, "cls.txt", where)
        label = plain(named, "class", where)
        subject = _subject(self._subject_from, label, said, where)
        content = sample.members[images[0]].content
        return Item(sample.key, images[0], content, label, subject, f"{shard}/{sample.key}", split)


class PictureFolder:
    """A tree CLASS/picture, or train|test/CLASS/picture; with subject_from `folder`, CLASS/SUBJECT/picture."""

    def __init__(self, root: Path, subject_from: str) -> None:
        self._root, self._subject_from = root, subject_from
        found = (file for file in root.rglob("*") if file.suffix[1:].lower() in pictures.EXTENSIONS)
        # A link could lead anywhere on this machine, so links are not followed.
        self._files = sorted(file for file in found if file.is_file() and not _linked(file, root))
        if not self._files:
            raise DataError(f"{root}: holds neither shards nor pictures; a tree CLASS/picture.png is right")
        tops = {file.relative_to(root).parts[0] for file in self._files}
        self._has_splits = tops <= HOLDOUT_NAMES | TRAIN_NAMES and len(tops) > 1

    @property
    def facts(self) -> dict[str, Any]:
        """How many pictures, and one sha256 over their names and bytes."""
        listing = [[file.relative_to(self._root).as_posix(), digests.of_file(file)] for file in self._files]
        return {
            "kind": "folder",
            "subject_from": self._subject_from,
            "pictures": len(listing),
            "sha256": digests.of_value(listing),
        }

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Item]:
        for file in self._files:
            yield self._item(file)

    def _item(self, file: Path) -> Item:
        place = file.relative_to(self._root)
        parts, split = place.parts[:-1], None
        if self._has_splits:
            parts, split = parts[1:], _split_of(parts[:1])
        if not parts:
            raise DataError(f"{place}: lies in no class folder; CLASS/{place.name} is right")
        if self._subject_from == "folder" and len(parts) < 2:
            raise DataError(f"{place}: has no subject folder; CLASS/SUBJECT/{place.name} is right")
        content = file.read_bytes() if file.stat().st_size <= shards.MAX_MEMBER else b""
        if not content:
            raise DataError(f"{place}: empty, or larger than {shards.MAX_MEMBER} bytes")
        said = {"folder": parts[1]} if self._subject_from == "folder" else {}
        label = plain(parts[0], "class", str(place))
        subject = _subject(self._subject_from, label, said, str(place))
        return Item("", file.suffix[1:].lower(), content, label, subject, place.as_posix(), split)


def plain(value: Any, what: str, where: str) -> str:
    """A class or subject as a request can select it. Raises DataError for what is no short line of text or a number."""
    text = str(value).strip() if isinstance(value, str | int) else "\n"
    if len(text) > MAX_NAME or not text.isprintable():
        raise DataError(f"{where}: its {what} is not a line of at most {MAX_NAME} characters or a whole number")
    return text


def as_png(image: Image.Image) -> bytes:
    """A picture that a library hands out as pixels, in a file format."""
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def _split_of(words: tuple[str, ...] | list[str]) -> Split | None:
    lower = {word.lower() for word in words}
    return "holdout" if lower & HOLDOUT_NAMES else "train" if lower & TRAIN_NAMES else None


def _linked(file: Path, root: Path) -> bool:
    return any(part.is_symlink() for part in (file, *file.parents) if part.is_relative_to(root) and part != root)


def _json(sample: Sample, where: str) -> dict[str, Any]:
    text = _text(sample, "json", where)
    if not text:
        return {}
    try:
        tree = json_text.parse(text)
    except json_text.NotJson as error:
        raise DataError(f"{where}: its .json cannot be read ({str(error)[:80]})") from None
    if not isinstance(tree, dict):
        raise DataError(f"{where}: its .json is not an object")
    return tree


def _text(sample: Sample, extension: str, where: str) -> str:
    member = sample.members.get(extension)
    if member is None:
        return ""
    if len(member.content) > MAX_TEXT:
        raise DataError(f"{where}: its .{extension} has {len(member.content)} bytes; at most {MAX_TEXT} are read")
    try:
        return member.content.decode().strip()
    except UnicodeDecodeError:
        raise DataError(f"{where}: its .{extension} is not UTF-8 text") from None


def _subject(subject_from: str, label: str, said: dict[str, Any], where: str) -> str:
    if subject_from == "none":
        return ""
    if subject_from == "class":
        return label
    if subject_from not in said:
        exists = ", ".join(sorted(said)) or "none"
        raise DataError(
            f"{where}: there is no field {subject_from!r} to take the subject from; fields that exist: {exists} "
            "(or --subject-from class, or none)"
        )
    return plain(said[subject_from], "subject", where)
