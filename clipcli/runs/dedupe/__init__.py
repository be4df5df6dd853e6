"""One run of `dedupe`: files in, rows and a page out; the pure parts are in `clipcli.tasks.dedupe`.

image_files.py       images → contents, each with the files that hold it
facts.py             what the cache keeps: facts and the sketch of every picture, verdicts on pairs
signatures.py        pictures read again, small, and compared; verdicts are kept between runs
workers.py           processes that open and compare pictures
candidates.py        which contents are worth comparing: by sketches, or by vectors
groups.py            candidates → exact, near, edited and similar groups
against.py           the same against a reference set
rows.py              a group → its files, each beside the file that it is a copy of → rows, which are also a plan
report.py            a run with its reports, and what to do next
review_page.py       groups → a page of choices, with pictures of where two differ
validate.py          options → a checked run
run.py               the run itself
vector_run.py        a run over stored vectors, which compares no pictures, and its rows
"""
