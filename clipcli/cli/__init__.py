"""The command line: the app, its lazily built commands, help and option groups."""

from clipcli.cli.app import app as app
from clipcli.cli.app import main as main
