"""The rows of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clipcli.core.redaction import redact

Area = Literal["version", "platform", "device", "cache", "environment", "config", "network", "test"]


@dataclass(frozen=True)
class DoctorRow:
    """One finding."""

    area: Area
    name: str
    value: str
    ok: bool | None = None
    """True if it is good; None if it is only information."""
    columns: ClassVar[tuple[str, ...]] = ("area", "name", "value", "ok")
    path: ClassVar[None] = None

    def record(self) -> dict[str, object]:
        """Return `{"area": …, "name": …, "value": …, "ok": true | false | null}`."""
        return {"area": self.area, "name": self.name, "value": redact(self.value), "ok": self.ok}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the row's one line."""
        return [(self.area, self.name, redact(self.value), {True: "yes", False: "NO", None: ""}[self.ok])]
