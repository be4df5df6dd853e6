"""Reports of checks for CI: JUnit, what GitHub shows (SARIF, Markdown, annotations), and a page."""

from clipcli.output.formats import Reporting as Reporting
from clipcli.output.formats import parse_reporting as parse_reporting
from clipcli.output.formats import spoken_check_reports as spoken_check_reports
from clipcli.output.formats import spoken_reports as spoken_reports
from clipcli.output.reports.findings import CheckReport as CheckReport
from clipcli.output.reports.findings import Finding as Finding
