"""What CI reads of a check: JUnit, SARIF, Markdown, a page, annotations; a writer a file, one seam for all commands."""

from clipcli.output.reports.findings import CheckReport as CheckReport
from clipcli.output.reports.findings import Finding as Finding
from clipcli.output.reports.write import Reporting as Reporting
from clipcli.output.reports.write import parse_reporting as parse_reporting
