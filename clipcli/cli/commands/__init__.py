"""One adapter a command: parse, open a session, call a task, write rows, end with an exit code."""
