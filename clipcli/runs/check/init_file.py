"""The file that `check --init` writes, with every key, most of them as comments."""

from __future__ import annotations

import os
from typing import Final

from clipcli.config.location import NAME, find_config
from clipcli.errors import OutputError

START: Final = """\
# Checks of pictures, run by `clipcli check`. Patterns are as in .gitignore; file names are relative to this folder.

# Defaults for all checks; a check can set its own values.
model = "tiny"                  # any model of `clipcli models list`, a bundle's folder, local-dir:PATH, …
# offline = true                # never use the network
# prompts = ["product"]         # a set of `clipcli prompts list`, a file, or a template

# Each folder's name is the label of the pictures in it: shop/shoe/1.jpg is a shoe.
[checks.shop]
include = ["shop/"]             # the pictures
# exclude = ["shop/drafts/"]
expect_from = "parent"          # or a table: "labels.csv" with the columns path and label
# labels = ["shoe", "bag"]      # the labels to choose from; by default the names of the folders
# labels_file = "labels.txt"    # the same, one per line
min_accuracy = 0.95             # the share of pictures that must be right; default 1.0

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
# labels = ["a photo of a thing", "a drawing"]   # other labels; by default each is compared with a background

# Every picture keeps the limits of its scores.
# [checks.quality]
# include = ["photos/"]
# head = "aesthetic.safetensors"   # files of predictors, or NAME=FILE; a head of `clipcli fit` goes with expect
# min = { aesthetic = 5 }
# max = { aesthetic = 10 }

# There are no duplicates.
# [checks.duplicates]
# include = ["assets/"]
# duplicates = "near"           # exact, near, edited or similar
"""


def write_start(path: str | None = None) -> str:
    """Write an example of a config file and return its name.

    Raises:
        OutputError: the file exists, would hide a pyproject.toml, or cannot be written.
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
            f"{target} already exists and was not changed", hint="write to another file with --config FILE"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot write {os.fspath(target)}: {(error.strerror or str(error)).lower()}") from error
    return target
