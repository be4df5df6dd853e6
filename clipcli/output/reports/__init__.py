"""Reports of checks for CI: JUnit, SARIF, Markdown, a page and annotations, one module each."""

from clipcli.output.reports.findings import CheckReport as CheckReport
from clipcli.output.reports.findings import Finding as Finding
from clipcli.output.reports.write import Reporting as Reporting
from clipcli.output.reports.write import parse_reporting as parse_reporting
from clipcli.output.reports.write import spoken_check_reports as spoken_check_reports
from clipcli.output.reports.write import spoken_reports as spoken_reports
