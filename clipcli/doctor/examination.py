"""Every finding, in the order in which a reader of a bug report asks."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from clipcli.doctor.devices import devices
from clipcli.doctor.folders import folders
from clipcli.doctor.rows import Finding
from clipcli.doctor.selftest import embedded_model
from clipcli.doctor.settings import config_file, environment
from clipcli.doctor.software import machine, versions

if TYPE_CHECKING:
    from collections.abc import Iterator


def examine() -> Iterator[Finding]:
    """Look at everything; the test of the embedded model, the slowest, comes last. Opens no connection."""
    network = Finding("network", "probed", "no: clipcli doctor opens no connection")
    settings = chain(environment(), config_file())
    return chain(versions(), machine(), devices(), folders(), settings, [network], embedded_model())
