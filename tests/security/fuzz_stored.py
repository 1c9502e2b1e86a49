"""What lies in a data set and beside a batch: manifests, shards, and the description of both."""

from __future__ import annotations

import io
import json
import tarfile
from functools import cache
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from tests.security.fuzz_door import Door, json_of
from tests.security.mutations import octets
from unlearning import files
from unlearning.data import index, manifest, shards

# Manifests and the index: Parquet, its pages, footer and types


@cache
def tables() -> list[bytes]:
    """Manifests as they are, and as other writers would write them."""
    rows = {
        column.name: [f"{column.name}-{n}" if pa.types.is_string(column.type) else n for n in range(2)]
        for column in index.COLUMNS
    }
    good = pa.table(rows, schema=index.COLUMNS)
    named = good.append_column(manifest.REQUESTS, pa.array([["a"], ["b", "c"]], manifest.REQUESTS.type))
    found = [good, named, good.slice(0, 0), good.slice(0, 1)]
    for place, column in enumerate(index.COLUMNS):
        other = pa.array([b"\xff\xfe", None]) if pa.types.is_string(column.type) else pa.array([1.5, None])
        found.append(good.set_column(place, column.name, other))
        found.append(good.remove_column(place))
    found += [pa.concat_tables([good, good]), good.append_column("x", pa.array([1, 2]))]
    return [parquet(table, number) for number, table in enumerate(found)]


def parquet(table: pa.Table, number: int) -> bytes:
    sink = pa.BufferOutputStream()
    packed = ("zstd", "none", "snappy", "gzip")[number % 4]
    pq.write_table(
        table, sink, compression=packed, version=("2.6", "1.0")[number % 2], store_schema=False,
        use_dictionary=number % 3 == 0, write_statistics=number % 5 == 0, data_page_version=("1.0", "2.0")[number % 2],
    )  # fmt: skip
    return bytes(sink.getvalue().to_pybytes())


_THRIFT = (
    b"\0",
    b"\x15",
    b"\x16",
    b"\x18",
    b"\x19",
    b"\xff\xff\xff\xff\x0f",
    b"\x80",
    b"PAR1",
    b"PARE",
    b"\x19\xfc\xff",
)


def _manifest(rng: Random) -> bytes:
    """Half of the changes where the file says what it holds: the footer, which is found from the end."""
    given = rng.choice(tables())
    size = int.from_bytes(given[-8:-4], "little")
    where = rng.random()
    if where < 0.2:
        return octets(rng, given, tables(), _THRIFT)
    if where < 0.75:
        cut = len(given) - 8 - size
        footer = octets(rng, given[cut:-8], [given[cut:-8]], _THRIFT)
        return given[:cut] + footer + len(footer).to_bytes(4, "little") + given[-4:]
    pages = bytearray(given)
    for _ in range(rng.choice((1, 1, 3))):
        pages[rng.randrange(4, max(5, len(given) - 8 - size))] ^= 1 << rng.randrange(8)
    return bytes(pages)


def _read_manifest(given: bytes) -> bytes:
    table = manifest.parse(pa.BufferReader(given), "the input")
    return json.dumps(table.to_pydict()).encode()


def _again_manifest(kept: bytes) -> bytes:
    rows = json.loads(kept)
    columns = index.COLUMNS.append(manifest.REQUESTS) if "requests" in rows else index.COLUMNS
    return parquet(pa.table(rows, schema=columns), 0)


# Shards: tar streams of samples


def _archive(*members: tuple[str, bytes], form: int) -> bytes:
    """A tar in memory. Forms: 0 USTAR, 1 GNU, 2 PAX."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    packed = sink.getvalue()
    return packed[: len(packed.rstrip(b"\0")) // 512 * 512 + 1536]  # not the 10 KiB that a tape wants


def _shards() -> list[bytes]:
    long = "p" * 120
    made = (
        (0, ("a.png", b"1"), ("a.cls", b"x")),
        (
            0,
            ("./d/b.png", b"1" * 513),
        ),
        (
            1,
            (f"{long}.jpg", b"3"),
        ),
        (
            2,
            (f"é{long}.jpg", b"3"),
        ),
    )
    return [_archive(*members, form=form) for form, *members in made]


SHARDS = _shards()
_TAR_TOKENS = (b"\0", b"\x80", b"\xff" * 8, b"7" * 11, b"0" * 11, b"../", b"/", b"ustar\x0000", b"5", b"x", b"L", b"g",
               b"12 path=a\n", b"11 size=9\n", b"-1 ", b" ", b".png")  # fmt: skip


def _shard(rng: Random) -> bytes:
    """Mostly headers, with a checksum that is right: a wrong one is all that a reader would see."""
    given = bytearray(rng.choice(SHARDS))
    if rng.random() < 0.3:
        return octets(rng, bytes(given), SHARDS, _TAR_TOKENS)
    start = 512 * rng.randrange(len(given) // 512)
    block = given[start : start + 512]
    for _ in range(rng.choice((1, 1, 2))):
        at, size = rng.choice(_TAR_FIELDS)
        word = (
            rng.choice(_TAR_TOKENS)[:size] if rng.random() < 0.5 else rng.randbytes(rng.randrange(1, min(size, 4) + 1))
        )
        place = at + (0 if rng.random() < 0.5 else rng.randrange(size - len(word) + 1))
        block[place : place + len(word)] = word
    if any(block):
        block[148:156] = b"        "
        block[148:156] = b"%06o\0 " % (sum(block) & 0o777777)
    given[start : start + 512] = block
    return bytes(given)


_TAR_FIELDS = ((0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155))


def _read_shard(given: bytes) -> bytes:
    found = list(shards.samples_of(io.BytesIO(given), "the.tar"))
    listed = [[one.key, {k: [m.name, m.content.hex()] for k, m in one.members.items()}] for one in found]
    return json.dumps(listed).encode()


def _again_shard(kept: bytes) -> bytes:
    """Each name in an extended header: the short name, cut off at 100 bytes, may be one that is refused."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for _, held in json.loads(kept):
            for name, text in held.values():
                info = tarfile.TarInfo("short")
                info.size, info.pax_headers = len(text) // 2, {"path": name}
                tar.addfile(info, io.BytesIO(bytes.fromhex(text)))
    return sink.getvalue()


# The data set's description


_DESCRIBED = json.dumps(
    {
        "schema": "dataset/1",
        "index_sha256": "ab" * 32,
        "images": 2,
        "splits": {"train": 2},
        "classes": {"a": 2},
        "shards": [{"file": "train-000000.tar", "bytes": 9, "sha256": "cd" * 32}],
    }
).encode()


def _read_described(given: bytes) -> bytes:
    return files.canonical(index.described(files.parse_json(given, "the input"), "the input"))


DOORS = (
    Door("manifest", _manifest, _read_manifest, _again_manifest),
    Door("shard index", _shard, _read_shard, _again_shard),
    Door("data set description", json_of(_DESCRIBED), _read_described),
)
