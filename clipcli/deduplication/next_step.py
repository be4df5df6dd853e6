"""What a person does with a report of duplicates next, in one line."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Final

from clipcli.errors import UsageError
from clipcli.plan.reading import reviewed_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipcli.deduplication.job import Job
    from clipcli.options.dedupe import ActionWords
    from clipcli.output import Output

_PLANS: Final = frozenset(("jsonl", "json"))


def is_plan(output: Output) -> bool:
    """Return whether `apply` can read what is written."""
    return output.format in _PLANS and not output.paths


def plan_of(output: Output) -> str | None:
    """Return the file of the plan; None where none is written."""
    return output.path if output.path not in {None, "-"} and is_plan(output) else None


def say_next_step(job: Job, output: Output, pages: Sequence[str]) -> None:
    """Say what to do next, where there is anything to do."""
    step = next_step(output, pages) if job.groups_found and (job.freed.files or pages) else None
    if step is not None:
        job.talk.note(step)


def next_step(output: Output, pages: Sequence[str]) -> str | None:
    """Return what to do where files could go; None where the rows are a plan on stdout, for whatever reads them.

    Args:
        output: where the rows went.
        pages: pages to choose on.
    """
    plan = plan_of(output)
    if pages:
        saved = shlex.quote(reviewed_name(plan or pages[0]))
        return f"next: open {pages[0]} in a browser, choose, save, then: clipcli apply {saved}"
    if plan is not None:
        return f"next: clipcli apply {shlex.quote(plan)} (says what it would do; with --yes it does it)"
    if is_plan(output):
        return None
    return "nothing was touched; to act on it, add -o plan.jsonl to this command, then: clipcli apply plan.jsonl"


def refuse_actions(words: ActionWords) -> None:
    """Say which command acts. Raises UsageError."""
    for option, action in words.given.items():
        apply = f"clipcli apply plan.jsonl{action}"
        raise UsageError(f"{option} is for apply: dedupe itself touches nothing",
                         hint=f"clipcli dedupe … -o plan.jsonl, then: {apply}")  # fmt: skip


def page_of(pages: Sequence[str], output: Output) -> str:
    """Return the page that a plan is to be looked at on, in full; empty where there is none or no plan is written."""
    return os.path.abspath(pages[0]) if pages and is_plan(output) else ""  # noqa: PTH100 - any bytes
