"""`clipcli prompts list | show | check | tokens`."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli.options.option_types import LabelsFileOption, LabelsOption
from clipcli.options.shared import OutputOptions


def list_sets(output: OutputOptions) -> None:
    """List the template sets that come with clipcli, and what each is for."""
    from clipcli.core.console import Console
    from clipcli.errors import PromptsError
    from clipcli.output import open_writer
    from clipcli.prompts import shipped_sets
    from clipcli.prompts.rows import SetRow

    missing: list[str] = []
    with open_writer(output.parse(null=False)) as writer:
        for chosen in shipped_sets().values():
            try:
                writer.write(SetRow.of(chosen))
            except PromptsError as error:  # noqa: PERF203 - a plain install lacks open_clip's templates
                missing.append(f"{chosen.name} is left out: {error.message}; to add them: {error.hint}")
    for line in missing:
        Console().info(line)


def show(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME|FILE...", help="Sets or files. Several are joined. @imagenet prints its labels."),
    ],
    labels: LabelsOption = None,
    labels_file: LabelsFileOption = None,
) -> None:
    """Print a set, one template per line, ready to edit. With labels, print the resulting texts."""
    from clipcli.core.console import printable
    from clipcli.output.targets import open_target
    from clipcli.prompts.rows import listing

    with open_target(None) as target:
        for line in listing(names, labels or [], labels_file or []):
            target.write(f"{printable(line) if target.is_terminal else line}\n".encode())


def check(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Template files, .txt or .json (FILE.json#NAME for a data set)."),
    ],
    labels: LabelsOption = None,
    labels_file: LabelsFileOption = None,
) -> None:
    """Report each fault in template files as file:line: problem; the exit code is 4 if there is any.

    With labels, also report labels that a file of prompts per label does not cover.
    """
    from clipcli.core.console import Console, printable
    from clipcli.errors import ExitCode
    from clipcli.output.targets import open_target
    from clipcli.prompts import check_file, check_labels

    parsed_labels, faults = check_labels(labels or [], labels_file or [])
    for file in files:
        faults += check_file(file, parsed_labels)
    with open_target(None) as target:
        for fault in faults:
            line = f"{fault} ({fault.suggestion})" if fault.suggestion else str(fault)
            target.write(f"{printable(line)}\n".encode())
    if faults:
        Console().info(f"{len(faults)} fault{'' if len(faults) == 1 else 's'} found")
        raise typer.Exit(ExitCode.INPUTS)


def tokens(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Texts to encode.")],
    output: OutputOptions,
    context: Annotated[
        int,
        typer.Option(
            "--context", metavar="N", min=3, help="Context length of the model, start and end tokens included."
        ),
    ] = 77,
) -> None:
    """Show the tokens of texts in CLIP's tokenizer, and which of them are cut off."""
    from clipcli import bundle
    from clipcli.core.console import Console, printable
    from clipcli.engines import tokenizer
    from clipcli.models.spec import TINY_FOLDER
    from clipcli.output import open_writer
    from clipcli.prompts.rows import TokenRow

    clip_tokenizer = tokenizer.load(bundle.read(TINY_FOLDER))  # the embedded model has CLIP's own
    with open_writer(output.parse(null=False)) as writer:
        for text in texts:
            token_texts = clip_tokenizer.token_texts(text)
            for position, (number, token_text) in enumerate(token_texts, start=1):
                writer.write(TokenRow(text, position, number, token_text, kept=position < context - 1))
            if (cut := len(token_texts) + 2 - context) > 0:
                Console().info(
                    f"{printable(text[:40])}: {len(token_texts) + 2} tokens with start and end, the last {cut} are cut"
                )


EXAMPLES = (
    "clipcli prompts list",
    "clipcli prompts show photo > my-templates.txt",
    "clipcli prompts check my-templates.txt",
    'clipcli prompts tokens "a photo of a dog"',
)

COMMANDS = {"list": list_sets, "show": show, "check": check, "tokens": tokens}
