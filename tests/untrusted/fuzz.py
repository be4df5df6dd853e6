"""Feed one reader with bytes that atheris chooses by what they reach in the code; a finding stops it.

    pip install atheris
    python tests/untrusted/fuzz.py "vectors in npz" -max_total_time=3600 corpus/

The options after the name are libFuzzer's. Without a corpus it starts from the hostile documents and a good file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]


def main() -> None:
    """Fuzz until something is found, or the time is over."""
    import atheris

    with atheris.instrument_imports(include=["clipcli", "json", "csv", "tarfile", "zipfile", "tomllib"]):
        from untrusted.readers import READERS, verdict
    from untrusted.documents import documents

    name, *options = sys.argv[1:]
    reader, folder = READERS[name], Path(tempfile.mkdtemp(prefix="clipcli-fuzz-"))
    reader.prepare(folder)
    file = folder / reader.name

    def one(data: bytes) -> None:
        file.write_bytes(data)
        reader.seal(file)
        if found := verdict(reader, file):
            raise AssertionError(found)

    if not [option for option in options if not option.startswith("-")]:
        corpus = folder / "corpus"
        corpus.mkdir()
        good = {"good": file.read_bytes()} if file.exists() else {}
        for number, data in enumerate({**documents(), **good}.values()):
            (corpus / str(number)).write_bytes(data[: 1 << 16])
        options.append(str(corpus))
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
