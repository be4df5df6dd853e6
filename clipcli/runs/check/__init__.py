"""`clipcli check`: run the checks of clipcli.toml on all or changed images, with one model loaded at a time.

selection.py  patterns → images, of all files or of those that git says have changed
classify.py   a check of labels, as `classify` does it
scores.py     a check of the scores of predictors, as `classify --head` does it
score.py      a check of images and their texts, as `score` does it
dedupe.py     a check for duplicates, as `dedupe` does it
validate.py   the file's checks → what can be run
run.py        all checks, grouped by model, to one exit code
rows.py       one row per check
init_file.py  the file that `--init` writes
"""
