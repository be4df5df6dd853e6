"""The file that `check --init` writes: every key, most of them asleep."""

from __future__ import annotations

import os
from typing import Final

from clipcli.config import NAME, find_config
from clipcli.errors import OutputError

START: Final = """\
# Checks of pictures, run by `clipcli check`. Patterns are those of .gitignore; files are found from this folder.

# What options are for all checks, where a check says nothing else.
model = "tiny"                  # any model of `clipcli models list`, a bundle's folder, local-dir:PATH, …
# offline = true                # never use the network
# prompts = ["product"]         # see `clipcli prompts list`; a file or a template will do

# Each folder's name is the label of the pictures in it: shop/shoe/1.jpg is a shoe.
[checks.shop]
include = ["shop/"]             # the pictures
# exclude = ["shop/drafts/"]
expect_from = "parent"          # or a table: "labels.csv" with the columns path and label
# labels = ["shoe", "bag"]      # what there is to choose from; without it the names of the folders
# labels_file = "labels.txt"    # the same, one a line
min_accuracy = 0.95             # the check holds when so many pictures are right; 1.0 unless said

# All pictures show one thing.
# [checks.faces]
# include = ["team/*.jpg"]
# expect = "a face"
# labels = ["a face", "a landscape", "a logo"]
# threshold = 0.5               # no answer below this score

# No picture shows any of these.
# [checks.nothing-private]
# include = ["*.jpg", "*.png"]
# forbid = ["a screenshot", "a passport"]
# labels = ["a photo of a thing", "a drawing"]   # what else there is; without it each is held against a background

# No picture is there twice.
# [checks.duplicates]
# include = ["assets/"]
# duplicates = "near"           # exact, near, edited or similar
"""


def write_start(path: str | None = None) -> str:
    """Write the start of a config file; its name.

    Raises:
        OutputError: there is one already, which is never written over, or a pyproject.toml that it would hide; or the
            folder cannot be written to.
    """
    target = path or NAME
    rules = find_config()
    if path is None and rules is not None and os.path.dirname(rules) == "" and rules != NAME:  # noqa: PTH120
        hint = "put the checks there, as [tool.clipcli.checks.NAME]"
        raise OutputError(f"{rules} has [tool.clipcli], which a {NAME} beside it would hide", hint=hint)
    try:
        with open(target, "x", encoding="utf-8") as stream:  # noqa: PTH123 - any bytes
            stream.write(START)
    except FileExistsError as error:
        raise OutputError(
            f"{target} is there already, and stays as it is", hint="--config FILE names another"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot write {os.fspath(target)}: {(error.strerror or str(error)).lower()}") from error
    return target
