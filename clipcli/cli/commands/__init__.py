"""One module per command: parse options, open a session, execute the run, exit with its code."""
