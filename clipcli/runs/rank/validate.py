"""Options of `rank` that do not go together: refused before anything is read, none of them ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.errors import UsageError
from clipcli.inputs.sources.text_tables import ALL_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.inputs.row_filter import Condition
    from clipcli.options.rank import HitOptions, KeepOptions, RecallOptions
    from clipcli.output.reports import Reporting
    from clipcli.runs.rank.corpus_files import Sources


def refuse_mixtures(hits: HitOptions, keep: KeepOptions, check: RecallOptions, reporting: Reporting) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: options of which one would be without effect.
    """
    if hits.all and hits.top_k is not None:
        raise UsageError("--all and --top-k do not go together", hint="choose one")
    if hits.min_score is not None and not -1 <= hits.min_score <= 1:
        raise UsageError("--min-score is a cosine, -1 to 1", hint="look at the scores without it first")
    if reporting.without_pages().paths and not check.min_recall:
        raise UsageError("--report .xml, .sarif and .md tell of checks", hint="--min-recall is one; .html shows hits")
    if check.relevance:
        ignored = {
            "--top-k": hits.top_k, "--min-score": hits.min_score, "--relevant": hits.relevant, "--all": hits.all,
            "--copy-to": keep.copy_to, "--link-to": keep.link_to, "--preview": keep.preview,
            "--report .html": reporting.pages,
        }  # fmt: skip
        for option, value in ignored.items():
            if value is not None and value is not False and value != ():
                raise UsageError("--relevance writes figures, not hits", hint=f"leave out {option}")


def refuse_all_of_an_index(hits: HitOptions, check: RecallOptions) -> None:
    """Refuse options that only an exact search can answer.

    Raises:
        UsageError: an option that needs the scores of all rows.
    """
    problem = "an index knows the best few of a query only"
    if hits.all or hits.relevant or hits.exclude_copies or check.relevance:
        raise UsageError(problem, hint="search its vector file for --all, --relevant, --exclude-copies and --relevance")
    if hits.min_score is not None and hits.top_k is None:
        raise UsageError(problem, hint="say how many at most: --min-score and --top-k together")


def refuse_copies(sources: Sources) -> None:
    """Refuse to copy or link hits of a corpus of texts.

    Raises:
        UsageError: the corpus holds texts.
    """
    if sources.kind == "text":
        raise UsageError(
            f"{sources.made_by_model} holds texts: there are no files to keep",
            hint="leave out --copy-to and --link-to",
        )


def refuse_columns(sources: Sources, carry: Sequence[str], where: Condition | None) -> None:
    """Refuse columns that vector files do not carry, and all of an index. Raises UsageError."""
    if sources.index is not None and (carry or where is not None):
        option = "--keep" if carry else "--where"
        raise UsageError(f"an index has no columns for {option}", hint="search its vector file")
    for file in sources.files:
        file.require_columns("--keep", [name for name in carry if name != ALL_COLUMNS])
        if where is not None:
            where.bind(file.column_names)
