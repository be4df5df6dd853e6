"""Option groups as `Annotated` dataclasses, one file per command."""
