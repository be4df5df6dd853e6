"""One run of `dedupe`: files in, rows and a page out; the pure parts are in `clipcli.tasks.dedupe`.

    files.py       images → contents, each with the files that hold it
    looking.py     pictures read again, small, to be compared; remembers hashes between runs
    proposing.py   which contents are worth comparing: near in CLIP space, or near by hash
    deciding.py    candidates → exact, near, edited and similar groups
    comparing.py   the same against a reference set
    entries.py     a group → its files, each beside the file that it is a copy of
    rows.py        groups → rows, which are also a plan
    page.py        groups → a page of choices
    difference.py  two pictures → where they differ
    sides.py       which inputs are references
    freed.py       what removing files frees
    next_step.py   what a person does next
    job.py         what was asked, from start to exit code

It stands with the commands, since it speaks of their options.
"""
