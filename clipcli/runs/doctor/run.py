"""Collect every finding, in the order useful for a bug report."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from clipcli.runs.doctor.machine import devices, folders
from clipcli.runs.doctor.rows import DoctorRow
from clipcli.runs.doctor.selftest import embedded_model
from clipcli.runs.doctor.software import config_file, environment, machine, versions

if TYPE_CHECKING:
    from collections.abc import Iterator


def examine() -> Iterator[DoctorRow]:
    """Yield every finding; the test of the embedded model, the slowest, comes last. Opens no connection."""
    network = DoctorRow("network", "probed", "no: clipcli doctor opens no connection")
    settings = chain(environment(), config_file())
    return chain(versions(), machine(), devices(), folders(), settings, [network], embedded_model())
