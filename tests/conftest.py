"""What every test starts from: its own cache, no network, the default settings."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

import browser
import pictures
import small_models

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED = Path(__file__).parent.parent.parent / "shared"

settings.register_profile("clipcli", deadline=None)  # a busy machine is no failure
settings.load_profile("clipcli")


def pytest_configure() -> None:
    """A shell that starts pytest in the background has it ignore Ctrl-C, and with it every process that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test, and nothing of the caller's environment."""
    cache = tmp_path_factory.mktemp("cache")
    for name in (
        "CLIPCLI_CONFIG",
        "CLIPCLI_MODEL",
        "CLIPCLI_DEVICE",
        "CLIPCLI_OFFLINE",
        "CLIPCLI_PRECISION",
        "CLIPCLI_ENGINE",
        "CLIPCLI_FORMAT",
        "CLIPCLI_BATCH_SIZE",
        "CLIPCLI_WORKERS",
        "CLIPCLI_NO_CACHE",
        "NO_COLOR",
        "FORCE_COLOR",
        "CI",
        "GITHUB_ACTIONS",
        "TF_BUILD",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLIPCLI_CACHE_DIR", str(cache))
    monkeypatch.setenv("CLIPCLI_AUTO_EXPORT", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    # Whether bfloat16 is faster differs by machine and hour; tests of that say so.
    monkeypatch.setattr("clipcli.core.devices.cpu_with_bf16", lambda: "")
    monkeypatch.setenv("XDG_STATE_HOME", str(cache.with_name(f"{cache.name}-state")))
    own_trash(monkeypatch, cache.with_name(f"{cache.name}-data"))
    return cache


def own_trash(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Nothing that a test throws away meets another test's, or comes into the developer's trash."""
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    if sys.platform == "linux":
        from send2trash import plat_other as trash

        monkeypatch.setattr(trash, "XDG_DATA_HOME", os.fsencode(home))
        monkeypatch.setattr(trash, "HOMETRASH_B", os.fsencode(home / "Trash"))
        monkeypatch.setattr(sys.modules["send2trash"], "send2trash", trash.send2trash)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and models that lies beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder ../shared of real photos, which is not here")
    return SHARED


@pytest.fixture(scope="session")
def surrogate(shared: Path) -> str:
    """The spec of a small model that knows ImageNet's names."""
    return f"local-dir:{shared / 'models' / 'surrogate'}"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pictures in two sub-folders, named for what they show."""
    return pictures.make_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The spec of a plain CLIP with random weights, small enough to load in no time."""
    return small_models.save("clip", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    """A headless Chromium for the pages that clipcli writes."""
    if browser.MISSING:
        pytest.skip(browser.MISSING)
    with browser.open_browser(tmp_path_factory.mktemp("profile")) as window:
        yield window
