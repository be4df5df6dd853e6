"""Check texts and labels from Python code; one string in place of a list would be read letter by letter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from clipcli.core.type_checks import require_several
from clipcli.errors import LabelsError
from clipcli.inputs.text_files import tidy
from clipcli.prompts import Label, spoken


def as_texts(texts: Iterable[str], what: str) -> list[str]:
    """Return texts as a list.

    Raises:
        TypeError: the argument is one string, or an item is not a string.
    """
    require_several(texts, what)
    text_list = list(texts)
    for text in text_list:
        if not isinstance(text, str):
            raise TypeError(f"{what}: texts, not {type(text).__name__}")
    return text_list


def as_names(prompts: str | Sequence[str] | None) -> list[str]:
    """Return names of template sets, files or templates as a list; a single one becomes a list of one."""
    if prompts is None:
        return []
    return [prompts] if isinstance(prompts, str) else as_texts(prompts, "prompts")


def as_labels(labels: Iterable[str] | Mapping[str, str | Sequence[str]]) -> tuple[Label, ...]:
    """Return labels as from a label file: names, or names with phrases.

    Raises:
        TypeError: the argument is one string.
        LabelsError: there is no label, or an empty one.
    """
    if isinstance(labels, Mapping):
        pairs = [(name, as_names(phrases)) for name, phrases in labels.items()]
    else:
        pairs = [(name, [spoken(tidy(name))]) for name in as_texts(labels, "labels")]
    labels_by_name = {
        tidy(name): Label(tidy(name), tuple(dict.fromkeys(map(tidy, phrases)))) for name, phrases in pairs
    }
    if not labels_by_name:
        raise LabelsError("no labels given", hint="labels=['cat', 'dog']")
    for label in labels_by_name.values():
        if not label.name or not label.phrases or not all(label.phrases):
            raise LabelsError(f"an empty label or phrase: {label.name!r}")
    return tuple(labels_by_name.values())
