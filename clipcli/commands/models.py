"""`clipcli models list | info | pull | verify | export`."""

from __future__ import annotations

COMMANDS: dict = {}
