"""Prompt sets: those that come with clipcli, files and literal templates, and the texts they make for a label."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import clipcli
from clipcli.core.optional_packages import install_command
from clipcli.errors import MOST_SUGGESTIONS, PromptsError, UsageError, did_you_mean
from clipcli.inputs.text_files import STDIN, Fault, quoted, read_text, refuse, shown_name
from clipcli.prompts.labels import label_line, parse_labels
from clipcli.prompts.templates import (
    PLACEHOLDER,
    JsonPrompts,
    check_template,
    fill,
    normal,
    parse_json_prompts,
    parse_lines,
    purpose,
    template_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    """A set that needs no file from the user."""

    name: str
    purpose: str
    read: Callable[[], tuple[str, ...]]
    """Return the templates; may raise PromptsError."""
    path: str | None = None
    """Its file; None for the set from open_clip."""


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
    sets = {path.stem: _shipped_set(path) for path in template_folder().glob("*.txt")}
    sets[_IMAGENET] = ShippedSet(_IMAGENET, _IMAGENET_PURPOSE, imagenet_templates)
    return dict(sorted(sets.items()))


def _shipped_set(path: Path) -> ShippedSet:
    text = read_text(str(path))
    if isinstance(text, Fault):
        refuse([text], PromptsError)

    def read() -> tuple[str, ...]:
        templates, faults = parse_lines(text, str(path))
        if faults:
            refuse(faults, PromptsError)
        return templates

    return ShippedSet(path.stem, purpose(text), read, str(path))


@dataclass(frozen=True)
class SetRow:
    """`{"name", "templates", "use"}`: a set's name, the number of its templates, and its purpose."""

    name: str
    templates: int
    use: str
    path: str | None
    """The file to copy and change; None for the set from open_clip."""
    columns: ClassVar[tuple[str, ...]] = ("name", "templates", "use")

    @classmethod
    def of(cls, chosen: ShippedSet) -> SetRow:
        """Return the row for a set. Raises PromptsError when it cannot be read."""
        return cls(chosen.name, len(chosen.read()), chosen.purpose, chosen.path)

    def record(self) -> Mapping[str, object]:
        """Return the row as a JSON object."""
        return {"name": self.name, "templates": self.templates, "use": self.use}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """Return the row's one line."""
        return [(self.name, str(self.templates), self.use)]


@dataclass(frozen=True)
class TokenRow:
    """`{"text", "position", "id", "token", "kept"}`: one token of a text."""

    text: str
    position: int
    """Counted from 0, the start token."""
    id: int
    token: str
    """The token's text."""
    kept: bool
    """False for a token beyond the context length, which is cut."""
    columns: ClassVar[tuple[str, ...]] = ("text", "position", "id", "token", "kept")
    path: ClassVar[None] = None

    def record(self) -> Mapping[str, object]:
        """Return the row as a JSON object."""
        return {name: getattr(self, name) for name in self.columns}

    def cells(self) -> Sequence[tuple[str, ...]]:
        """Return the row's one line."""
        return [(self.text, str(self.position), str(self.id), self.token, "yes" if self.kept else "no")]


def listing(names: Sequence[str], comma_lists: Sequence[str], label_files: Sequence[str]) -> list[str]:
    """Return the lines that `clipcli prompts show` prints: templates, or the texts that are embedded for labels.

    A named set of labels (`@imagenet`) is listed as lines of a label file.

    Raises:
        UsageError: a set with prompts for single labels but no label, or labels together with a set of labels.
        PromptsError: a name or file that cannot be used, or a label without prompts.
        LabelsError: labels that cannot be used.
    """
    if any(name.startswith("@") for name in names):
        if comma_lists or label_files:
            raise UsageError("labels are put into templates, not into labels", hint="name a set, such as photo")
        return [label_line(label) for label in parse_labels(names, [])]
    prompts = load_prompts(names)
    if comma_lists or label_files:
        labels = parse_labels(comma_lists, label_files)
        require_prompts(labels, prompts)
        return [text for label in labels for text in expand(label, prompts)]
    if prompts.per_label:
        raise UsageError(
            f"{prompts.name} holds prompts for single labels", hint="-l LABEL shows the prompts of a label"
        )
    return [template_line(template) for template in prompts.templates]


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
