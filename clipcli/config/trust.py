"""What a config file that was found, and not named, is trusted with: somebody else may have put it there.

A cloned repository brings its own file, and in a shared folder anybody can leave one. So a file that was found may
choose published models and what lies in its own tree, and one that belongs to another user is not read at all, as git
reads no repository of another user (safe.directory).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from clipcli.core.redaction import redact
from clipcli.models.catalogue import ALIASES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_TAG: Final = re.compile(r"\w[\w.-]*(/\w[\w.-]*){0,2}")
_FORMS: Final = ("hf-hub:", "local-dir:")
_MANIFEST: Final = "manifest.json"
_FILE_KEYS: Final = ("prompts", "labels_file", "expect_from", "thresholds", "groups")
"""Keys whose values may be files."""
NAME_IT: Final = "name the file to trust it: --config FILE (check), or CLIPCLI_CONFIG=FILE"


def is_own(path: Path) -> bool:
    """Return whether a file, and the link that leads to it, belong to this user; always true on systems without owners.

    As in git, root also trusts what belongs to the user who became root through sudo.
    """
    if not hasattr(os, "geteuid"):
        return True
    own = {os.geteuid()}
    if os.geteuid() == 0 and (behind := os.environ.get("SUDO_UID", "")).isdecimal():
        own.add(int(behind))
    try:
        return path.lstat().st_uid in own and path.stat().st_uid in own
    except OSError:
        return False


def forbidden(table: Mapping[str, Any], folder: str) -> Iterable[tuple[str, str, str]]:
    """Yield what a found file may not say in one of its tables: key, problem and what to do instead.

    Args:
        table: keys and checked values.
        folder: the file's folder, which is the top of its tree.
    """
    if "weights_dir" in table:
        yield "weights_dir", "a config file that was found may not choose where weights are read from", NAME_IT
    model = table.get("model")
    if model is not None and not _is_allowed(model, folder):
        problem = f"a config file that was found may not choose the model {_short(model)}"
        yield "model", problem, f"it may choose an alias, a published tag or a bundle in its own folder; {NAME_IT}"
    for key in _FILE_KEYS:
        given = table.get(key, ())
        for name in (given,) if isinstance(given, str) else given:
            if _leads_out(name, folder):
                problem = f"a config file that was found may not choose a file outside its own folder ({_short(name)})"
                yield key, problem, NAME_IT


def _is_allowed(model: str, folder: str) -> bool:
    name = model.strip()
    if name.startswith(_FORMS) or "@" in name or _leads_out(name, folder):
        return False
    if name in {alias.name for alias in ALIASES}:
        return True
    bundle = os.path.join(folder, name, _MANIFEST)  # noqa: PTH118 - any bytes
    return _is_inside(bundle, folder) if os.path.exists(bundle) else _TAG.fullmatch(name) is not None  # noqa: PTH110


def _leads_out(name: str, folder: str) -> bool:
    """Return whether a name, from the file's folder or from the working one, is or would be a path outside the tree."""
    if name.startswith("~") or os.path.isabs(name) or os.pardir in re.split(r"[/\\]", name):  # noqa: PTH117
        return not _is_inside(os.path.expanduser(os.path.join(folder, name)), folder)  # noqa: PTH111, PTH118
    paths = (os.path.join(folder, name), name)  # noqa: PTH118
    return any(os.path.lexists(path) and not _is_inside(path, folder) for path in paths)


def _is_inside(path: str, folder: str) -> bool:
    """Return whether a path is in a folder, links followed."""
    top, real = os.path.realpath(folder or os.curdir), os.path.realpath(path)
    return real == top or real.startswith(top.rstrip(os.sep) + os.sep)


def _short(text: str) -> str:
    text = redact(text)
    return repr(text if len(text) <= 60 else text[:59] + "…")  # noqa: PLR2004 - a line's worth
