"""One folder per command: options are validated, then rows are made."""
