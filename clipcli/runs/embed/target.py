"""The output of vectors and its format, checked before any work starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from clipcli.core.files import STDOUT, descriptor_of, is_file, is_folder, is_there
from clipcli.core.optional_packages import require_packages
from clipcli.core.redaction import redact, redact_url
from clipcli.errors import UsageError, did_you_mean
from clipcli.inputs.collect import parse_shard
from clipcli.inputs.sources.filesystems import check_writable, is_url
from clipcli.vectorfiles import STREAMS, VECTOR_FORMATS, format_of
from clipcli.vectorfiles.writer import staging_path

if TYPE_CHECKING:
    from clipcli.vectorfiles import VectorDtype, VectorFormat


@dataclass(frozen=True)
class EmbedTarget:
    """The checked output options."""

    path: Path | None
    """The file; None is stdout."""
    format: VectorFormat
    dtype: VectorDtype
    shard: tuple[int, int] = (1, 1)
    """(i, n): shard i of n."""
    resume: bool = False
    url: str | None = None
    """The URL to which the complete file at `path` is uploaded, or None."""
    pipe: str | None = None
    """A pipe or device that is written like stdout; then `path` is None."""

    @property
    def shown(self) -> str:
        """Return the name of the output for messages."""
        return redact(self.url) if self.url else str(self.path)


def parse_target(
    output: str | None, format_name: str, dtype: str, shard: str | None = None, *, resume: bool = False
) -> EmbedTarget:
    """Check the output options.

    Raises:
        UsageError: an unknown format or type, or one that does not fit the output.
        PackageMissingError: the format needs a package that is not installed.
        OutputError: a URL that cannot be written.
    """
    if dtype not in {"float32", "float16"}:
        raise UsageError(f"no type {dtype!r}", hint="float32 or float16")
    output = None if output is not None and descriptor_of(output) == STDOUT else output
    url = output if output is not None and is_url(output) else None
    path = None if output in {None, "-"} else Path(redact_url(url).rpartition("/")[2] if url else str(output))
    pipe = str(path) if url is None and path is not None and _is_pipe(path) else None
    path = None if pipe else path
    if resume and path is None:
        raise UsageError("--resume needs -o FILE", hint="a run that writes to a pipe cannot be resumed")
    share = (1, 1) if shard is None else parse_shard(shard)
    if url is not None and url.endswith("/"):
        raise UsageError(f"{redact(url)} is a folder", hint=f"-o names a file: {redact(url)}all.parquet")
    chosen = _format(format_name, path)
    if chosen == "parquet":
        require_packages("parquet", "Parquet")
    if url is not None:
        check_writable(url)
        path = staging_path(url)
    return EmbedTarget(path, chosen, cast("VectorDtype", dtype), share, resume, url, pipe)


def _is_pipe(path: Path) -> bool:
    return descriptor_of(path) is not None or (is_there(path) and not is_file(path) and not is_folder(path))


def _format(name: str, path: Path | None) -> VectorFormat:
    name = "jsonl" if name == "ndjson" else name
    if name not in {"auto", *VECTOR_FORMATS}:
        names = ", ".join(VECTOR_FORMATS)
        raise UsageError(f"no format {name!r}", hint=f"{did_you_mean(name, VECTOR_FORMATS)} one of {names}".strip())
    if path is None:
        if name == "auto":
            return "jsonl"
        if name not in STREAMS:
            raise UsageError(
                f"{name} cannot be written to a pipe", hint="give -o FILE, or --format " + " or ".join(STREAMS)
            )
    chosen = format_of(path) if name == "auto" and path is not None else name
    if chosen is None:
        names = ", ".join(f".{name_}" for name_ in VECTOR_FORMATS)
        raise UsageError(
            f"cannot tell the format of {path}", hint=f"give --format, or a name that ends in one of {names}"
        )
    return cast("Literal['npy', 'npz', 'parquet', 'safetensors', 'jsonl', 'csv']", chosen)
