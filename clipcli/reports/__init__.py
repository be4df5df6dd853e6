"""What CI reads of a check: JUnit, SARIF, Markdown, a page, annotations; a writer a file, one seam for all commands."""

from clipcli.reports.findings import CheckReport as CheckReport
from clipcli.reports.findings import Finding as Finding
from clipcli.reports.writing import Reporting as Reporting
from clipcli.reports.writing import parse_reporting as parse_reporting
