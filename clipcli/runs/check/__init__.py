"""One run of `check`: what clipcli.toml says, over all images or those that changed, with one model loaded at a time.

    selection.py   patterns → images, of all files or of some
    changed.py     what git says has changed
    labelled.py    a check of labels, as `classify` does it
    duplicated.py  a check for duplicates, as `dedupe` does it
    running.py     all checks, grouped by model, to one exit code
    rows.py        one row per check
    start.py       the file that `--init` writes

It stands with the commands, since it speaks of their options.
"""
