"""Documents that no reader should trust: each is made here, small on disk, and wrong in a way of its own."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import tarfile
import zipfile
from functools import lru_cache

import numpy as np

DEEP = 200_000


def npy(header: str | bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin-1") if isinstance(header, str) else header
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, data in members.items():
            made.writestr(f"{name}.npy", data)
    return stream.getvalue()


def bomb() -> bytes:
    """A zip archive of 128 KB whose array unpacks to 128 MB."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        made.writestr("clipcli.npy", npy("{'descr': '<U9', 'fortran_order': False, 'shape': (), }\n", bytes(36)))
        with made.open("vectors.npy", "w") as member:
            member.write(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (65536, 512), }\n"))
            for _ in range(128):
                member.write(bytes(1 << 20))
    return stream.getvalue()


def tensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tar(**given: object) -> bytes:
    """A tar file with one header whose fields are overwritten."""
    info = tarfile.TarInfo("a.jpg")
    info.size = 4
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    for place, value in given.values():
        block[place : place + len(value)] = value
    total = sum(block[:148]) + 8 * 32 + sum(block[156:512])
    block[148:156] = b"%06o\0 " % total
    return bytes(block) + b"data" + bytes(508) + bytes(1024)


def pax(record: bytes) -> bytes:
    """A tar file whose extended header holds a record."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(record)
    filled = record + bytes(-len(record) % 512)
    return info.tobuf(tarfile.USTAR_FORMAT) + filled + tar()


@lru_cache
def documents() -> dict[str, bytes]:
    """Name → bytes."""
    chance = random.Random(14)
    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    return {
        "empty": b"",
        "newline": b"\n",
        "nothing": bytes(3000),
        "chance": chance.randbytes(3000),
        "not utf-8": b"\xff\xfe\xfd\xfc" * 100,
        "utf-16": "label\n".encode("utf-16"),
        "byte order mark": b"\xef\xbb\xbf",
        "deep list": b"[" * DEEP,
        "deep whole list": b"[" * 50_000 + b"]" * 50_000,
        "rather deep list": b"[" * 900 + b"]" * 900,
        "deep object": b'{"a":' * DEEP,
        "deep in a field": b'{"format": "clipcli vectors", "names": ' + b"[" * DEEP,
        "long number": b"9" * 10_000,
        "long number in an object": b'{"journal": ' + b"9" * 10_000 + b', "format": ' + b"9" * 9000 + b"}",
        "numbers beyond": b'{"format": 1e999, "version": NaN, "position": -Infinity, "temperature": 1e-999}',
        "null": b"null",
        "text": b'"text"',
        "number": b"42",
        "true": b"true",
        "empty list": b"[]",
        "empty object": b"{}",
        "list of all": b'[null, true, 1, 1.5, "x", [], {}]',
        "object of lists": json.dumps({key: [[]] for key in KEYS}).encode(),
        "object of objects": json.dumps({key: {"x": {}} for key in KEYS}).encode(),
        "object of nulls": json.dumps(dict.fromkeys(KEYS)).encode(),
        "object of texts": json.dumps(dict.fromkeys(KEYS, "x")).encode(),
        "object of numbers": json.dumps(dict.fromkeys(KEYS, 10**30)).encode(),
        "half a surrogate": b'{"image": "\\ud800", "text": "\\udfff", "embedding": [1]}\n',
        "nul in a text": b'{"image": "a\\u0000b", "label": "a\\u0000b", "query": "\\u0000"}\n',
        "same key twice": b'{"a": 1, "a": {}, "format": 1, "format": []}',
        "toml dots": b"a." * 60_000 + b"a = 1",
        "toml brackets": b"a = " + b"[" * 50_000,
        "toml tables": b"[" + b"a." * 3000 + b"a]\n",
        "toml inline": b"a = " + b"{a = " * 20_000,
        "toml date": b"a = 9999-99-99T99:99:99\nb = 0001-01-01T00:00:00+23:59\n",
        "toml number": b"a = " + b"9" * 20_000,
        "yaml": b"&a [*a, *a]: {<<: *a}\n",
        "csv with nul": b'image,label\n"a\0b",x\n',
        "csv without an end": b'image,label,fingerprint,v0\n"' + b"x\n" * 5000,
        "csv of columns": b"image,fingerprint," + b",".join(b"v%d" % n for n in range(20_000)) + b"\n",
        "csv of numbers": b"image,fingerprint,v0,v1,error\nx,f,nan,1e999,\nx,f,1_0,0x1,\nx,f,,,\n",
        "csv of long numbers": b"image,fingerprint,v0,position,error\nx,f,1," + b"9" * 9000 + b",\n",
        "csv of short rows": b"image,label,query,fingerprint,v0\nx\n\n,\n",
        "long line": b"x" * (3 << 20),
        "many lines": b"x\n" * 20_000,
        "slashes": b"/" * 100_000,
        "braces": b"{a,b}" * 60 + b".tar\n",
        "wide braces": b"{0..99999999999999999999}.tar\n",
        "braces of digits": b"{0.." + b"9" * 6000 + b"}.tar\n",
        "open braces": b"{" * 60_000 + b"\n",
        "commas in braces": b"{" + b"," * 60_000 + b"\n",
        "stars": b"*" * 2000 + b".tar\n" + b"**/" * 500 + b"x.tar\n",
        "brackets": b"[" * 3000 + b"].tar\n",
        "urls": b"http://[\nhttp://[::1\nhttp://a:b:c/\nhttps://%00/\nfile://x\nhttp://\n://\nftp://x/y\nx+y://z\n",
        "chained urls": b"simplecache::memory://x\nreference://::memory://x.jpg\nzip://a.jpg::file:///x.zip\n"
        b"github://a:b@/x.jpg\ndata:,x\nshell://x\njupyter://x\n",
        "dots in urls": b"file:///../../etc/passwd\nfile:relative\nmemory://a/../..\n",
        "weights": b"1e999:a + -1e999:b\n0:a\n" + b"1:" * 20_000 + b"a\n" + b"a + " * 20_000 + b"a\n",
        "separators": b":;,#@\\" * 5000 + b"\n",
        "templates": b"{" * 20_000 + b"}" * 20_000 + b"\n{}{}{0}{x!r:>99999999}\n%s%n\n",
        "png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 2**31 - 1, 2**31 - 1, 16, 6, 0, 0, 0),
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "fits": b"SIMPLE  =                    T" + b" " * 3000,
        "wmf": b"\xd7\xcd\xc6\x9a" + bytes(100),
        "pdf": b"%PDF-1.7\n",
        "gzip": gzip.compress(bytes(1 << 20)),
        "zip": b"PK\x03\x04" + bytes(100) + b"PK\x05\x06" + bytes(18),
        "zip of chance": archive(vectors=chance.randbytes(100), clipcli=chance.randbytes(100)),
        "zip of deep headers": archive(vectors=npy("(" * 9000), clipcli=npy("{" * 9000)),
        "zip of objects": archive(
            vectors=npy("{'descr': '|O', 'fortran_order': False, 'shape': (9,), }\n", b"\x80\x04.")
        ),
        "zip of a large shape": archive(
            vectors=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 512), }\n", b"x"),
            clipcli=npy("{'descr': '<U9', 'fortran_order': False, 'shape': (), }\n", bytes(36)),
        ),
        "zip bomb": bomb(),
        "npy cut": b"\x93NUMPY\x01\x00\xff\xff{",
        "npy version": b"\x93NUMPY\x09\x09" + bytes(20),
        "npy deep": npy("(" * 9000),
        "npy of tokens": npy("{'descr': '''"),
        "npy of code": npy("{'descr': __import__('os').system('false')}"),
        "npy negative": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }\n", bytes(64)),
        "npy large": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 512), }\n", bytes(64)),
        "npy larger": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 300 + ", 4), }\n", bytes(64)),
        "npy of objects": npy(
            "{'descr': '|O', 'fortran_order': False, 'shape': (1, 4), }\n", b"cos\nsystem\n(S'x'\ntR."
        ),
        "npy of fields": npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 2), }\n", bytes(64)),
        "npy of texts": npy("{'descr': '<U4', 'fortran_order': False, 'shape': (2, 2), }\n", bytes(64)),
        "npy of no dimension": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", bytes(4)),
        "npy of many dimensions": npy(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 100 + "), }\n", b"x" * 4
        ),
        "pickle": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x05false\x85R.",
        "tensors too long": struct.pack("<Q", 2**62) + b"{}",
        "tensors of a list": tensors([]),
        "tensors deep": tensors(b"[" * 50_000),
        "tensors of nulls": tensors({"vectors": None, "__metadata__": None}),
        "tensors of texts": tensors({"vectors": "x", "__metadata__": {"clipcli": 1}, "names": []}),
        "tensors of kinds": tensors({"vectors": {**tensor, "dtype": "F99"}}, bytes(16)),
        "tensors negative": tensors({"vectors": {**tensor, "data_offsets": [-9, 16]}}, bytes(16)),
        "tensors backwards": tensors({"vectors": {**tensor, "data_offsets": [16, 0]}}, bytes(16)),
        "tensors large": tensors({"vectors": {**tensor, "shape": [2**40, 2**40]}}, bytes(16)),
        "tensors none": tensors({"vectors": {**tensor, "shape": [2**40, 1], "data_offsets": [0, 0]}}),
        "tensors of floats": tensors(
            {"vectors": {**tensor, "shape": [2.5, 1e999], "data_offsets": [0.5, 16]}}, bytes(16)
        ),
        "tensors without a description": tensors({"vectors": tensor, "names": tensor}, bytes(16)),
        "tensors of a deep description": tensors(
            {"vectors": tensor, "__metadata__": {"clipcli": "[" * 50_000}}, np.ones((2, 2), "<f4").tobytes()
        ),
        "parquet": b"PAR1" + bytes(100) + struct.pack("<I", 50) + b"PAR1",
        "parquet of chance": b"PAR1" + chance.randbytes(200) + struct.pack("<I", 190) + b"PAR1",
        "parquet long": b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1",
        "tar of a size": tar(size=(124, b"77777777777\0")),
        "tar of no size": tar(size=(124, b"\x80" + b"\xff" * 11)),
        "tar of a negative size": tar(size=(124, b"\xff" * 12)),
        "tar of letters": tar(size=(124, b"zzzzzzzzzzz\0")),
        "tar of a time": tar(time=(136, b"\x80" + b"\xff" * 11)),
        "tar of a way out": tar(name=(0, b"../../a.jpg\0")),
        "tar of a root": tar(name=(0, b"/etc/a.jpg\0")),
        "tar of a link": tar(kind=(156, b"2"), link=(157, b"/etc/passwd\0"), size=(124, b"00000000000\0")),
        "tar of a device": tar(kind=(156, b"3"), size=(124, b"00000000000\0")),
        "tar of holes": tar(kind=(156, b"S"), holes=(386, b"7" * 24)),
        "tar of a kind": tar(kind=(156, b"\xfe")),
        "pax of chance": pax(chance.randbytes(300)),
        "pax without a length": pax(b"99999999999999999999 path=x\n"),
        "pax of a size": pax(b"30 size=99999999999999999999\n\n"),
        "pax of a wrong size": pax(b"17 size=-99999\n\n\n"),
        "pax of letters": pax(b"14 size=abcde\n"),
        "pax of a time": pax(b"13 mtime=inf\n"),
        "pax of holes": pax(b"25 GNU.sparse.major=1\n\n\n\n25 GNU.sparse.minor=0\n\n\n\n"),
        "sqlite": b"SQLite format 3\0" + chance.randbytes(4080),
        "onnx": b"\x08\x07\x12\x04test" + chance.randbytes(500),
        "html": b"<!doctype html><script>alert(1)</script>",
        "escapes": b"\x1b[2J\x1b]0;x\x07 ::error::x ##[error]x\n",
        "loop": b"%include loop\n",
    }


KEYS = (
    "format", "version", "journal", "plan", "kind", "fingerprint", "model", "image", "text", "label", "labels", "query",
    "id", "embedding", "error", "position", "names", "ends", "positions", "shard", "parameters", "scoring", "templates",
    "temperature", "precision", "calibration_error", "dim", "rows", "source", "recall", "group", "path", "keep", "info",
    "files", "tokenizer", "revision", "vocab_size", "checks", "device", "weights", "others", "scale", "number", "state",
)  # fmt: skip


def mutated(data: bytes, count: int) -> list[bytes]:
    """Damaged copies of a valid file: a byte, a cut, a doubled, a blanked or a foreign piece."""
    chance = random.Random(len(data))
    made = []
    for number in range(count):
        copy = bytearray(data)
        place = chance.randrange(len(copy)) if number % 2 else chance.randrange(min(len(copy), 400))
        match number % 5:
            case 0:
                copy[place] ^= 1 << chance.randrange(8)
            case 1:
                del copy[place:]
            case 2:
                copy[place:place] = copy[place : place + 64]
            case 3:
                copy[place : place + 16] = bytes(16)
            case _:
                copy[place : place + 8] = b"\xff" * 8
        made.append(bytes(copy))
    return made
