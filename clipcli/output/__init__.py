"""Write rows in the format of the user's choice; a file appears only when it is complete."""

from clipcli.output.formats import FORMATS as FORMATS
from clipcli.output.formats import Output as Output
from clipcli.output.formats import open_writer as open_writer
from clipcli.output.formats import parse_output as parse_output
from clipcli.output.rows import CarriedColumns as CarriedColumns
from clipcli.output.rows import ErrorRow as ErrorRow
from clipcli.output.rows import JsonObject as JsonObject
from clipcli.output.rows import Row as Row
from clipcli.output.rows import RowBlock as RowBlock
from clipcli.output.rows import Writer as Writer
