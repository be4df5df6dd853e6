"""Apply a plan of duplicates and undo it. An interruption at any moment loses no file.

    plan_file.py      a plan file → its rows and groups, or an error that names the line
    file_state.py     the state of a file, to compare it with the plan; its attributes; protected folders
    journal_lines.py  steps and their checks; seals: proof that this user's clipcli wrote a journal on this machine
    journal.py        the steps begun and done, written to disk before a file moves
    actions.py        trash, move, links, delete: how to do and revert each
    safe_move.py      move, copy and quarantine, also across file systems, never over another file; unused names
    descriptors.py    system calls relative to folder descriptors, which no link can redirect
    trashcan.py       the desktop's trash (freedesktop.org)
    apply.py          groups → checked steps; a journal → the files back at their paths
    decisions.py      pairs that a person called different, by content

File names may hold any bytes (`os.fsdecode`). All file operations are direct `os` calls.
"""
