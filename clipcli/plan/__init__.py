"""What a report of duplicates may do to files: plan → apply → undo, with nothing lost whenever it is interrupted.

    rows.py        one line of a plan; what every line must say
    reading.py     a plan file → groups, or the line that is nonsense
    states.py      a file as it is now against the file as it was planned
    steps.py       one step of a journal; what every step must say to be believed
    journal.py     what was begun and what was done, on disk before anything moves
    seal.py        whether this user's clipcli wrote a journal, on this machine
    actions.py     trash, move, links, delete: how each is done and how it is taken back
    asides.py      the last look at what goes, while it has another name
    descriptors.py system calls through descriptors of folders, which nobody can redirect
    attributes.py  permissions, owner, times, extended attributes
    places.py      free names in a folder, also where case does not count
    guarding.py    whether a file lies in a protected folder, by whatever name
    moving.py      a file to another place, also across file systems, never over another file
    trashcan.py    the desktop's trash (freedesktop.org)
    applying.py    groups → checked steps
    irreversible.py  what cannot come back
    undoing.py     a journal → the files back in their places
    decisions.py   pairs that a person called different, by content

File names are strings of any bytes here (`os.fsdecode`), and every touch of a file is one call of `os` that says what
it does.
"""
