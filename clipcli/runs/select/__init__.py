"""One run of `select`: rows of another command are chosen, and their samples copied.

validate.py  `plan`: options → a checked run
run.py       the run itself
rows.py      the rows: read, chosen, kept on disk
samples.py   samples: read from shards and folders, written to shards or a folder
"""

from clipcli.runs.select.validate import plan as plan
