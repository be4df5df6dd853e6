"""Plan the checks of a config file: select images, read labels and name models, without loading anything."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.config.load import load_config
from clipcli.config.location import NAME, foreign_config
from clipcli.config.option_defaults import whole_number
from clipcli.core.console import printable
from clipcli.errors import ConfigError, UsageError, did_you_mean
from clipcli.inputs.text_files import escape, tidy
from clipcli.models.spec import parse_choice
from clipcli.options.shared import InputOptions, LabelOptions, RunOptions
from clipcli.runs.check.checks import DuplicateCheck, LabelCheck, LimitCheck, PairCheck
from clipcli.runs.check.run import Planned, named
from clipcli.runs.check.selection import Scope, Selection
from clipcli.runs.dedupe import validate as dedupe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clipcli.config.schema import CheckSpec, Config
    from clipcli.core.console import Console
    from clipcli.inputs.collect import ImageRef
    from clipcli.inputs.sources.patterns import Globs
    from clipcli.models.spec import Choice
    from clipcli.options.check import CheckModelOptions, SelectionOptions
    from clipcli.options.classify import CheckOptions, ScoreOptions
    from clipcli.options.dedupe import DuplicateOptions
    from clipcli.options.score import ScoreLimitOptions
    from clipcli.options.shared import CachedRunOptions
    from clipcli.session.prepare import SessionOptions


@dataclass(frozen=True)
class Groups:
    """Functions that turn a check into the option groups of `classify`, `dedupe` and `score`."""

    score: Callable[[CheckSpec, Config], ScoreOptions]
    check: Callable[[CheckSpec, Config], CheckOptions]
    duplicates: Callable[[CheckSpec], DuplicateOptions]
    pairs: Callable[[CheckSpec], ScoreLimitOptions]


@dataclass(frozen=True)
class Planner:
    """The settings that all checks of a run share."""

    config: Config
    scope: Scope
    globs: Globs
    """The filter of the command line."""
    model: CheckModelOptions
    run: RunOptions
    groups: Groups
    console: Console

    @classmethod
    def of(
        cls,
        selection: SelectionOptions,
        model: CheckModelOptions,
        run: CachedRunOptions,
        groups: Groups,
        console: Console,
    ) -> Planner:
        """Read the config file, and select the files to check.

        Raises:
            ConfigError: there is no config file, or it cannot be used.
            UsageError: there is no such commit.
            InputsError: no images among the paths, or no repository.
        """
        config = load_config(selection.config)
        if config.path is None:
            if foreign := foreign_config():
                raise ConfigError(f"{foreign} belongs to another user and is not read", hint=f"--config {foreign}")
            raise ConfigError(f"no {NAME} here, and no [tool.clipcli]", hint="clipcli check --init writes an example")
        if not config.checks:
            raise ConfigError(
                f"{config.path} holds no checks", hint="add [checks.NAME]; clipcli check --init writes an example"
            )
        console.debug(f"checks of {config.path}")
        scope = Scope.of(selection, config, console)
        performance = RunOptions(
            **vars(run),
            batch_size=whole_number("batch_size") or config.defaults.batch_size,
            workers=whole_number("workers") or config.defaults.workers,
        )
        return cls(config, scope, selection.globs, model, performance, groups, console)

    @property
    def session_options(self) -> SessionOptions:
        """Return the options of the session."""
        return self.run.session()

    def plan(self, only: Sequence[str]) -> list[Planned]:
        """Return all checks, or the named ones, in the order of the file; one may be both of labels and for duplicates.

        Raises:
            UsageError: there is no such check.
            ClipcliError: a check cannot be run; its position in the file is named.
        """
        names = [check.name for check in self.config.checks]
        for name in only:
            if name not in names:
                hint = did_you_mean(name, names) or "there are " + ", ".join(names)
                raise UsageError(f"no check {name!r} in {self.config.path}", hint=hint)
        chosen = [spec for spec in self.config.checks if not only or spec.name in only]
        return [planned for spec in chosen for planned in self._plan(spec)]

    def _plan(self, spec: CheckSpec) -> Iterator[Planned]:
        position = f"{self.config.location(spec)}: check {printable(spec.name)}"
        with named(position):
            narrow = self.scope.narrows(spec, self.config)
            if spec.pairs:
                only = self.scope.paths if narrow else None
                limits = self.groups.pairs(spec)
                pairs = PairCheck.of(spec, self.config, limits, self.console, only=only, globs=self.globs)
                yield Planned(spec.name, position, pairs, self._choice(spec))
                return
            selection = Selection.of(spec, self.config.folder, self.globs, self.console.debug_once)
            needs_all = not narrow or spec.duplicates or (spec.expect_from == "parent" and not spec.has_labels)
            family = selection.all() if needs_all else []
            if not narrow and not family and self.globs.keeps is None:
                raise ConfigError(
                    f"no image matches include ({', '.join(spec.include)})",
                    hint="patterns are as in .gitignore, relative to the file's folder",
                )
            images = selection.among(self.scope.paths) if narrow else family
            if spec.names_labels:
                check = self._labelled(spec, images, family or images) if images else None
                yield Planned(spec.name, position, check, self._choice(spec))
            if spec.limits_scores:
                scores = LimitCheck.of(spec, self.config, images, self.console) if images else None
                yield Planned(spec.name, position, scores, self._choice(spec))
            if spec.duplicates is not None:
                name = f"{spec.name}: duplicates" if spec.names_labels or spec.limits_scores else spec.name
                needs_model = spec.duplicates == "similar"
                twice = self._duplicated(spec, name, images, family) if images else None
                yield Planned(name, position, twice, self._choice(spec) if needs_model else None)

    def _labelled(self, spec: CheckSpec, images: Sequence[ImageRef], family: Sequence[ImageRef]) -> LabelCheck:
        config = self.config
        labels = list(spec.labels)
        if spec.forbid and not spec.labels_file and (labels or not (spec.thresholds or spec.head)):
            labels += [escape(tidy(label), ",") for label in spec.forbid]
        options = LabelOptions(
            labels or None,
            [config.beside(name) for name in spec.labels_file] or None,
            [config.beside(name) for name in spec.prompts or self._default_prompts(spec)] or None,
        )
        inputs = InputOptions(images=[ref.path for ref in images])
        score, check = self.groups.score(spec, config), self.groups.check(spec, config)
        return LabelCheck.of(spec.name, inputs, options, score, check, list(family), self.console)

    def _default_prompts(self, spec: CheckSpec) -> Sequence[str]:
        """Return the prompts of the file; a head has no texts to put into them."""
        return () if spec.head else self.config.defaults.prompts

    def _duplicated(
        self, spec: CheckSpec, name: str, images: Sequence[ImageRef], family: Sequence[ImageRef]
    ) -> DuplicateCheck:
        inputs = InputOptions(images=[ref.path for ref in family])
        job = dedupe.plan(inputs, self.groups.duplicates(spec), self.run, self.console)
        return DuplicateCheck(name, job, family, frozenset(ref.name for ref in images))

    def _choice(self, spec: CheckSpec) -> Choice:
        """Return the model: of the command line, else the check, the environment, the file, the default."""
        options, defaults = self.model, self.config.defaults
        model_name = spec.model or (None if os.environ.get("CLIPCLI_MODEL") else defaults.model)
        name = options.model or (self.config.model_beside(model_name) if model_name else "")
        return parse_choice(
            name or os.environ.get("CLIPCLI_MODEL") or "",
            options.device if options.device != "auto" else defaults.device or "auto",
            options.precision if options.precision != "auto" else defaults.precision or "auto",
            options.engine if options.engine != "auto" else defaults.engine or "auto",
            offline=options.offline or bool(defaults.offline),
            weights_dir=options.weights_dir or self.config.weights_dir,
        )
