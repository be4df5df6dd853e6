"""`clipcli index`: build an approximate index for corpora that are too large to search row by row."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli.options.shared import VerbosityOptions

EXAMPLES = (
    "clipcli index catalogue.npy -o catalogue.index",
    'clipcli rank "red shoes" catalogue.index',
)


def index(
    vectors: Annotated[str, typer.Argument(metavar="VECTORS", help="Vector file from clipcli embed.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="INDEX", help="Folder to create.")],
    run: VerbosityOptions,
    recall: Annotated[
        float,
        typer.Option("--recall", metavar="R", min=0.0, max=1.0, help="Share of the true nearest neighbours to find."),
    ] = 0.95,
) -> None:
    """Build an index that searches millions of vectors in milliseconds, and report its recall."""
    from clipcli.errors import ExitCode
    from clipcli.runs.rank.index_builder import build
    from clipcli.vectorfiles import open_vectors

    console = run.console()
    file = open_vectors(vectors)
    with console.progress(len(file), "vector") as advance:
        info = build(file, output, recall, advance)
    console.info(f"{info.rows:,} vectors in {output}; it finds {info.recall:.1%} of the ten best exact hits")
    if info.recall < recall:
        console.warning(f"recall is below {recall:.1%}; search {vectors} directly if every hit matters")
    raise typer.Exit(ExitCode.OK)
