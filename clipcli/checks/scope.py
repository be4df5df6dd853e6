"""Which files a run is about: all of them, those named, or those that changed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.checks.changed import canonical, changed_since
from clipcli.inputs import collect

if TYPE_CHECKING:
    from clipcli.config import CheckSpec, Config
    from clipcli.options.check import SelectionOptions
    from clipcli.talk import Talk

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Scope:
    """Files by canonical path; None is every file."""

    named: frozenset[str] | None = None
    changed: frozenset[str] | None = None

    @classmethod
    def of(cls, selection: SelectionOptions, config: Config, talk: Talk) -> Scope:
        """What the command line asked for; with paths and a commit, what both hold.

        Raises:
            UsageError: no such commit.
            InputsError: nothing among the paths, or no repository.
        """
        paths, since = selection.images, selection.changed_since
        named = None
        if paths:
            refs = collect(paths, null=selection.null, globs=selection.globs, detail=talk.detail_once)
            named = frozenset(canonical(ref.path) for ref in refs)
        return cls(named, changed_since(since, config.folder) if since is not None else None)

    def narrows(self, spec: CheckSpec, config: Config) -> bool:
        """Whether only some images of a check are meant; not so when what the check itself is made of has changed."""
        if self.named is None and self.changed is None:
            return False
        return self.named is not None or not self._touches(spec, config)

    @property
    def paths(self) -> list[str]:
        """The files of a narrow scope."""
        if self.named is None or self.changed is None:
            return sorted(self.named or self.changed or ())
        return sorted(self.named & self.changed)

    def _touches(self, spec: CheckSpec, config: Config) -> bool:
        files = [*spec.labels_file, *(spec.prompts or config.defaults.prompts)]
        files += [name for name in (spec.groups, spec.expect_from, spec.thresholds) if name]
        model = config.model_beside(spec.model or config.defaults.model or "")
        own = [str(config.path), os.path.join(model, _MANIFEST), *map(config.beside, files)]  # noqa: PTH118
        return any(canonical(name) in (self.changed or ()) for name in own)
