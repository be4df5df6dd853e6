from __future__ import annotations

import importlib.util
import sys

from training import packages


def test_modules_of_unpacked_wheels_can_be_imported(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    packages.folder(tmp_path).mkdir()
    (packages.folder(tmp_path) / "drawn_by_a_wheel.py").touch()
    assert importlib.util.find_spec("drawn_by_a_wheel") is None
    packages.make_importable(tmp_path)
    packages.make_importable(tmp_path)
    assert importlib.util.find_spec("drawn_by_a_wheel") is not None
    assert sys.path.count(str(packages.folder(tmp_path))) == 1
