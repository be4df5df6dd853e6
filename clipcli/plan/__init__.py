"""Apply a plan of duplicates and undo it. An interruption at any moment loses no file.

    rows.py          one line of a plan and its checks
    read.py          a plan file → groups, or an error that names the line
    file_state.py    the state of a file, to compare it with the plan; protected folders
    steps.py         one step of a journal and its checks
    journal.py       the steps begun and done, written to disk before a file moves
    seal.py          proof that this user's clipcli wrote a journal on this machine
    actions.py       trash, move, links, delete: how to do and revert each
    quarantine.py    temporary names for files to remove, and a last check
    descriptors.py   system calls relative to folder descriptors, which no link can redirect
    attributes.py    permissions, owner, times, extended attributes
    safe_move.py     move and copy, also across file systems, never over another file; unused names in a folder
    trashcan.py      the desktop's trash (freedesktop.org)
    apply.py         groups → checked steps

    undo.py          a journal → the files back at their paths
    decisions.py     pairs that a person called different, by content

File names may hold any bytes (`os.fsdecode`). All file operations are direct `os` calls.
"""
