"""Rows out: a format's name becomes a writer; a file appears whole or not at all."""

from clipcli.output.formats import FORMATS as FORMATS
from clipcli.output.formats import Output as Output
from clipcli.output.formats import open_writer as open_writer
from clipcli.output.formats import parse_output as parse_output
from clipcli.output.row_block import RowBlock as RowBlock
from clipcli.output.rows import CarriedColumns as CarriedColumns
from clipcli.output.rows import ErrorRow as ErrorRow
from clipcli.output.rows import JsonObject as JsonObject
from clipcli.output.rows import Row as Row
from clipcli.output.rows import Writer as Writer
