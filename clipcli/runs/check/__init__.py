"""`clipcli check`: run the checks of clipcli.toml on all or changed images, with one model loaded at a time.

selection.py  patterns → images, of all files or of those that git says have changed
checks.py     the kinds of checks: labels, scores of predictors, pairs of image and text, duplicates
validate.py   the file's checks → what can be run
run.py        all checks, grouped by model, to one exit code
rows.py       one row per check
init_file.py  the file that `--init` writes
"""
