"""Run one reader over every hostile document, in a process of its own with little memory; print what became of each.

python tests/untrusted/sweep.py READER FOLDER      one JSON object
python tests/untrusted/sweep.py                    the table of SECURITY.md, over all readers
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from run import Result, run  # noqa: E402
from untrusted.documents import documents, mutated  # noqa: E402

MEMORY = 6 << 30
"""Bytes of address space; libraries that are mapped count too."""
SECONDS = 30
MUTATIONS = 40
IMAGE = TESTS.parent / "examples" / "cat.png"
MODEL = ("-m", "tiny", "--offline", "--no-cache", "--workers", "1")
SUFFIXES = {
    "image": ".png",
    "list": "",
    "shard": ".tar",
    "table of images": ".parquet",
    "texts": ".txt",
    "texts in CSV": ".csv",
    "texts in JSON Lines": ".jsonl",
    "texts in Parquet": ".parquet",
    "labels": ".txt",
    "label groups": ".txt",
    "templates": ".txt",
    "templates in JSON": ".json",
    "expected labels in CSV": ".csv",
    "expected labels in JSON Lines": ".jsonl",
    "queries": ".txt",
    "queries in JSON Lines": ".jsonl",
    "relevance in CSV": ".csv",
    "relevance in JSON Lines": ".jsonl",
    "thresholds": ".json",
    "configuration": ".toml",
    "plan": ".jsonl",
    "journal": ".journal",
    "decisions": ".txt",
    "npy": ".npy",
    "npy.json": ".npy.json",
    "npz": ".npz",
    "safetensors": ".safetensors",
    "vectors in Parquet": ".parquet",
    "vectors in JSON Lines": ".jsonl",
    "vectors in CSV": ".csv",
    "errors.jsonl": ".npy.errors.jsonl",
    "index.json": "",
    "index graph": "",
    "index names": "",
    "cache": "",
    "model record": "",
    "bundle manifest": "",
    "bundle graph": "",
    "bundle tokenizer": "",
    "open_clip config": "",
    "weights": "",
}
READERS = tuple(SUFFIXES)


def arguments(reader: str, file: Path, folder: Path) -> tuple[object, ...]:  # noqa: C901, PLR0911, PLR0912 - a table
    """The command that reads the file in its place."""
    match reader:
        case "image" | "shard" | "table of images":
            return ("embed", file, *MODEL)
        case "list":
            return ("embed", "--files-from", file, *MODEL)
        case "texts" | "texts in CSV" | "texts in JSON Lines" | "texts in Parquet":
            return ("embed", "--texts-from", file, *MODEL)
        case "labels":
            return ("classify", IMAGE, "--labels-file", file, *MODEL)
        case "label groups":
            return ("classify", IMAGE, "-l", "cat,dog", "--groups", file, *MODEL)
        case "templates" | "templates in JSON":
            return ("prompts", "check", file)
        case "expected labels in CSV" | "expected labels in JSON Lines":
            return ("classify", IMAGE, "-l", "cat,dog", "--expect-from", file, *MODEL)
        case "queries" | "queries in JSON Lines":
            return ("rank", "--queries", file, IMAGE, *MODEL)
        case "relevance in CSV" | "relevance in JSON Lines":
            return ("rank", "--expect", file, IMAGE, *MODEL)
        case "thresholds":
            return ("classify", IMAGE, "--thresholds", file, *MODEL)
        case "configuration":
            return ("check", "--config", file, "--offline")
        case "plan":
            return ("apply", file)
        case "journal":
            return ("undo", file)
        case "decisions":
            return ("dedupe", IMAGE, "--level", "exact", "--ignore-file", file)
        case "npy" | "npz" | "safetensors" | "vectors in Parquet" | "vectors in JSON Lines" | "vectors in CSV":
            return ("rank", "cat", file, *MODEL)
        case "npy.json" | "errors.jsonl":
            return ("merge", file.with_name("v.npy"), "-o", folder / "out.npy")
        case "index.json" | "index graph" | "index names":
            return ("rank", "cat", folder / "index", *MODEL)
        case "open_clip config" | "weights":
            return ("embed", IMAGE, "-m", f"local-dir:{folder / 'model'}", "--offline", "--no-cache")
        case "cache" | "model record":
            return ("embed", IMAGE, "-m", "tiny", "--offline")
        case _:
            return ("embed", IMAGE, "-m", folder / "bundle", "--offline", "--no-cache")


def valid(reader: str, folder: Path) -> bytes:
    """A good file for the reader, where one can be made; its damaged copies are documents too."""
    kinds = {
        "npy": "npy",
        "npz": "npz",
        "safetensors": "safetensors",
        "vectors in Parquet": "parquet",
        "vectors in CSV": "csv",
        "vectors in JSON Lines": "jsonl",
        "texts in Parquet": "parquet",
        "table of images": "parquet",
    }
    if reader in kinds:
        file = folder / f"good.{kinds[reader]}"
        made = run("embed", IMAGE, IMAGE.with_name("dog.png"), *MODEL, "-o", file)
        assert made.code == 0, made.stderr
        return file.read_bytes()
    if reader == "shard":
        import tarfile

        with tarfile.open(folder / "good.tar", "w") as tar:
            tar.add(IMAGE, "a/cat.png")
        return (folder / "good.tar").read_bytes()
    if reader == "image":
        return IMAGE.read_bytes()
    if reader in PREPARED:
        return place_of(reader, folder).read_bytes()
    return b""


PREPARED = {
    "npy.json": "v.npy.json",
    "errors.jsonl": "v.npy.errors.jsonl",
    "index.json": "index/index.json",
    "index graph": "index/graph.usearch",
    "index names": "index/names.json",
    "bundle manifest": "bundle/manifest.json",
    "bundle graph": "bundle/image.onnx",
    "bundle tokenizer": "bundle/tokenizer.json",
    "cache": "cache/vectors-1.sqlite",
}


def place_of(reader: str, folder: Path) -> Path:
    """Where a document goes."""
    return folder / PREPARED[reader] if reader in PREPARED else folder / f"document{SUFFIXES[reader]}"


def prepare(reader: str, folder: Path) -> None:
    """What stands around a document."""
    if reader in {"npy.json", "errors.jsonl"} or reader.startswith("index"):
        bad = folder / "bad.png"
        bad.write_bytes(b"x")
        made = run("embed", IMAGE, IMAGE.with_name("dog.png"), bad, *MODEL, "-o", folder / "v.npy")
        assert made.code == 3, made.stderr
    if reader.startswith("index"):
        made = run("index", folder / "v.npy", "-o", folder / "index")
        assert made.code == 0, made.stderr
    if reader.startswith("bundle"):
        from clipcli.modelspec import TINY_FOLDER

        shutil.copytree(TINY_FOLDER, folder / "bundle")
    if reader == "cache":
        os.environ["CLIPCLI_CACHE_DIR"] = str(folder / "cache")
        assert run("embed", IMAGE, "-m", "tiny", "--offline").code == 0


class TookTooLongError(BaseException):
    """A reader did not come to an end."""


def _late(*_: object) -> None:
    raise TookTooLongError


def try_one(reader: str, folder: Path) -> tuple[Result, float]:
    """What a command does with the document that is in its place, and how many seconds it took."""
    start = time.monotonic()
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(SECONDS)
    try:
        result = run(*map(str, arguments(reader, place_of(reader, folder), folder)))
    except TookTooLongError:
        result = Result("", "took too long", -1)
    finally:
        signal.alarm(0)
    return result, time.monotonic() - start


def sweep(reader: str, folder: Path) -> dict[str, object]:
    """Try every document; what is no good answer is listed with its last words."""
    prepare(reader, folder)
    good = valid(reader, folder)
    tried = {**documents(), **{f"damaged {n}": data for n, data in enumerate(mutated(good, MUTATIONS) if good else [])}}
    codes: dict[str, int] = {}
    bad: dict[str, str] = {}
    slow: dict[str, float] = {}
    for name, data in tried.items():
        if "bundle" in reader:
            refit(reader, folder, data)
        else:
            place_of(reader, folder).write_bytes(data)
        result, seconds = try_one(reader, folder)
        codes[str(result.code)] = codes.get(str(result.code), 0) + 1
        if result.code not in range(7) or "Traceback" in result.stderr:
            bad[name] = "\n".join(result.stderr.splitlines()[-4:])
        if seconds > SECONDS / 6:
            slow[name] = round(seconds, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"reader": reader, "tried": len(tried), "codes": codes, "bad": bad, "slow": slow, "peak_mb": peak}


def refit(reader: str, folder: Path, data: bytes) -> None:
    """Put a document into a bundle whose manifest lists it with its true size and hash."""
    import hashlib

    file = place_of(reader, folder)
    file.write_bytes(data)
    if reader != "bundle manifest":
        manifest = folder / "bundle" / "manifest.json"
        record = json.loads(manifest.read_text())
        for entry in record["files"]:
            if entry["name"] == file.name:
                entry |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        manifest.write_text(json.dumps(record))


def in_a_process(reader: str) -> dict[str, object]:
    """A sweep in a process of its own: a crash is its answer too."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, reader, folder],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            cwd=folder,
            env={
                **os.environ,
                "CLIPCLI_CACHE_DIR": f"{folder}/cache",
                "XDG_STATE_HOME": folder,
                "HF_HUB_OFFLINE": "1",
                "PYTHONFAULTHANDLER": "1",
            },
        )
    if done.returncode:
        return {"reader": reader, "crash": done.returncode, "said": done.stderr[-1500:], "peak_mb": 0, "tried": 0}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """One reader, or the table."""
    if len(sys.argv) > 2:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        print(json.dumps(sweep(sys.argv[1], Path(sys.argv[2]).resolve())))
        return
    print("| reader | documents | crashes | exit 70 | never ended | peak MB |\n|---|---|---|---|---|---|")
    for reader in READERS:
        found = in_a_process(reader)
        codes = found.get("codes", {})
        assert isinstance(codes, dict)
        cells = (
            reader,
            found["tried"],
            int("crash" in found),
            codes.get("70", 0),
            codes.get("-1", 0),
            found["peak_mb"],
        )
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
