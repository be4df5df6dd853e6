"""Prompt sets: those that come with clipcli, files and literal templates, and the texts they make for a label."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import clipcli
from clipcli.core.optional_packages import install_command
from clipcli.errors import MOST_SUGGESTIONS, PromptsError, did_you_mean
from clipcli.inputs.text_files import STDIN, Fault, quoted, read_text, refuse, shown_name
from clipcli.prompts.templates import (
    PLACEHOLDER,
    JsonPrompts,
    check_template,
    fill,
    normal,
    parse_json_prompts,
    parse_lines,
    purpose,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clipcli.prompts.labels import Label


_LABEL_MARK = "\0"
"""Replaces the label while a template function is turned into text; no template contains it."""


@cache
def imagenet_templates() -> tuple[str, ...]:
    """Return the 80 ImageNet templates as text with `{}`, in order.

    Raises:
        PromptsError: open_clip is missing, or this version keeps them elsewhere.
    """
    texts = (function(_LABEL_MARK) for function in _open_clip_constant("OPENAI_IMAGENET_TEMPLATES"))
    return tuple(text.replace("{", "{{").replace("}", "}}").replace(_LABEL_MARK, "{}") for text in texts)


def _install_hint() -> str:
    return install_command("torch")


def _open_clip_constant(name: str) -> Any:
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise PromptsError(
            "the templates for ImageNet come with open_clip, which is not installed", hint=_install_hint()
        )
    path = Path(package.origin).with_name("zero_shot_metadata.py")
    spec = spec_from_file_location("clipcli_open_clip_metadata", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PromptsError(f"this version of open_clip has no {path.name}", hint=_install_hint())
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise PromptsError(f"this version of open_clip has no {name}", hint=_install_hint())
    return getattr(module, name)


DEFAULT_SET = "photo"
_IMAGENET = "imagenet"
_IMAGENET_PURPOSE = "the 80 templates of OpenAI for ImageNet, also called openai; made for photos of one object"
OTHER_NAMES = {"openai": _IMAGENET}
"""The names of sets in other programs."""


class ShippedSet(NamedTuple):
    """A set that needs no file from the user; its file is read when it is used."""

    name: str
    path: str | None = None
    """Its file; None for the set from open_clip."""

    @property
    def purpose(self) -> str:
        """Return a line about the pictures that it is for. Raises PromptsError."""
        return _IMAGENET_PURPOSE if self.path is None else purpose(self._text())

    def read(self) -> tuple[str, ...]:
        """Return the templates. Raises PromptsError."""
        if self.path is None:
            return imagenet_templates()
        templates, faults = parse_lines(self._text(), self.path)
        if faults:
            refuse(faults, PromptsError)
        return templates

    def _text(self) -> str:
        text = read_text(str(self.path))
        if isinstance(text, Fault):
            refuse([text], PromptsError)
        return text


def template_folder() -> Path:
    """Return the folder of template files: inside an installed package, beside the package in a checkout.

    Raises:
        PromptsError: neither folder exists; the installation is damaged.
    """
    package = Path(clipcli.__file__).resolve().parent
    for folder in (package / "_prompts", package.parent / "prompts"):
        if (folder / f"{DEFAULT_SET}.txt").is_file():
            return folder
    raise PromptsError("the template files of clipcli are missing", hint="install clipcli again")


@cache
def shipped_sets() -> dict[str, ShippedSet]:
    """Return all sets by name, sorted."""
    sets = {path.stem: ShippedSet(path.stem, str(path)) for path in template_folder().glob("*.txt")}
    sets[_IMAGENET] = ShippedSet(_IMAGENET)
    return dict(sorted(sets.items()))


_SUFFIXES = (".txt", ".json")
_NAMED_FAULTS = 3
"""Most labels without prompts that one message names."""


@dataclass(frozen=True)
class PromptSet:
    """The templates and prompts that turn labels into texts."""

    name: str
    """The name that the user gave; the names of joined sets are separated by `+`."""
    templates: tuple[str, ...]
    """Templates for every label, with `{}` for the label."""
    per_label: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Additional prompts for single labels, with or without `{}`."""


def load_prompts(names: Sequence[str]) -> PromptSet:
    """Return the sets joined, each template once; the default set (`photo`) if no name is given.

    Args:
        names: each is the name of a shipped set, a file (`-` is stdin, `FILE.json#NAME` one data set of several), or
            a template, such as `a blurry photo of a {}`.

    Raises:
        PromptsError: an unknown name (the hint lists the known ones), or a faulty file.
    """
    chosen = [OTHER_NAMES.get(name, name) for name in names] or [DEFAULT_SET]
    templates: dict[str, None] = {}
    per_label: dict[str, dict[str, None]] = {}
    for name in chosen:
        prompts = _load(name)
        templates.update(dict.fromkeys(prompts.templates))
        for label, texts in prompts.per_label.items():
            per_label.setdefault(label, {}).update(dict.fromkeys(texts))
    return PromptSet("+".join(chosen), tuple(templates), {label: tuple(texts) for label, texts in per_label.items()})


def check_file(path: str, labels: Sequence[Label] = ()) -> list[Fault]:
    """Return all faults of a template file, in the order of its lines.

    Args:
        path: the file; `-` is stdin, `FILE.json#NAME` one data set of several.
        labels: labels that must have a prompt; a file of prompts for single labels may lack some.
    """
    prompts, faults = _read_file(path)
    missing = without_prompts(labels, PromptSet(path, prompts.templates, prompts.per_label))
    source, prompts_by_label = shown_name(path), prompts.per_label
    return faults + [
        Fault(
            source,
            None,
            f"no prompts for {quoted(name)}",
            did_you_mean(name, prompts_by_label) if index < MOST_SUGGESTIONS else "",
        )
        for index, name in enumerate(missing)
    ]


def expand(label: Label, prompts: PromptSet) -> tuple[str, ...]:
    """Return the texts for a label: each template with each phrase, then its own prompts, without duplicates.

    Phrases are inserted as they are: no article is added or changed.

    Raises:
        PromptsError: the set has no prompt for this label.
    """
    templates = (*prompts.templates, *prompts.per_label.get(label.name, ()))
    if not templates:
        require_prompts([label], prompts)
    return tuple(dict.fromkeys(fill(template, phrase) for template in templates for phrase in label.phrases))


def without_prompts(labels: Sequence[Label], prompts: PromptSet) -> list[str]:
    """Return the names of labels without a prompt; a file of prompts for single labels may lack some."""
    return [] if prompts.templates else [label.name for label in labels if label.name not in prompts.per_label]


def require_prompts(labels: Sequence[Label], prompts: PromptSet) -> None:
    """Check that every label has a prompt.

    Raises:
        PromptsError: names the labels without a prompt and the nearest labels that have one.
    """
    missing = without_prompts(labels, prompts)
    if not missing:
        return
    named = ", ".join(map(quoted, missing[:_NAMED_FAULTS]))
    ending = f" and {len(missing) - _NAMED_FAULTS} more" if len(missing) > _NAMED_FAULTS else ""
    hint = did_you_mean(missing[0], prompts.per_label) or "add --prompts photo, which covers every label"
    if len(missing) == len(labels) and all(
        PLACEHOLDER in text for texts in prompts.per_label.values() for text in texts
    ):
        hint = f"if its keys are data sets, name one: {prompts.name}#{next(iter(prompts.per_label))}"
    raise PromptsError(f"{prompts.name} has no prompts for the label {named}{ending}", hint=hint)


def _load(name: str) -> JsonPrompts:
    if shipped := shipped_sets().get(name):
        return JsonPrompts(shipped.read(), {})
    if "{" in name and not os.path.exists(name):  # noqa: PTH110 - never raises, whatever the name
        if fault := check_template(name):
            raise PromptsError(f"--prompts {quoted(name)}: {fault[0]}", hint=fault[1] or None)
        return JsonPrompts((normal(name),), {})
    if not _is_file_name(name):
        near, names = did_you_mean(name, shipped_sets()), ", ".join(shipped_sets())
        raise PromptsError(
            f"no prompts called {quoted(name)}", hint=f"{near} there are {names}, or give a file".strip()
        )
    prompts, faults = _read_file(name)
    if faults:
        refuse(faults, PromptsError, see_all=f"clipcli prompts check {name} lists them all")
    return prompts


def _is_file_name(name: str) -> bool:
    path = _split_key(name)[0]
    looks_so = path == STDIN or os.sep in path or path.lower().endswith(_SUFFIXES)
    return looks_so or os.path.exists(path)  # noqa: PTH110 - never raises, whatever the name


def _split_key(name: str) -> tuple[str, str | None]:
    """Split `FILE.json#NAME` into the file and the data set in it."""
    path, mark, key = name.rpartition("#")
    if mark and path.lower().endswith(".json") and not os.path.exists(name):  # noqa: PTH110 - the same
        return path, key
    return name, None


def _read_file(name: str) -> tuple[JsonPrompts, list[Fault]]:
    path, key = _split_key(name)
    text = read_text(path)
    if isinstance(text, Fault):
        return JsonPrompts((), {}), [text]
    if path.lower().endswith(".json"):
        return parse_json_prompts(text, shown_name(path), key)
    templates, faults = parse_lines(text, shown_name(path))
    return JsonPrompts(templates, {}), faults
