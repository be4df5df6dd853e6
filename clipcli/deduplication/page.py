"""placeholder"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Page:
    @classmethod
    def of(cls, path):
        return cls()

    def add(self, row):
        pass

    def write(self, job):
        pass
