"""Texts and labels of Python code, checked: a bare string where a list belongs would be taken letter by letter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from clipcli.core.type_checks import require_several
from clipcli.errors import LabelsError
from clipcli.inputs.text_files import tidy
from clipcli.prompts import Label, spoken


def as_texts(texts: Iterable[str], what: str) -> list[str]:
    """Texts as a list.

    Raises:
        TypeError: one string, or something in the list that is none.
    """
    require_several(texts, what)
    found = list(texts)
    for text in found:
        if not isinstance(text, str):
            raise TypeError(f"{what}: texts, not {type(text).__name__}")
    return found


def as_names(prompts: str | Sequence[str] | None) -> list[str]:
    """Names of sets of templates, files or templates; one alone is a list of one."""
    if prompts is None:
        return []
    return [prompts] if isinstance(prompts, str) else as_texts(prompts, "prompts")


def as_labels(labels: Iterable[str] | Mapping[str, str | Sequence[str]]) -> tuple[Label, ...]:
    """Labels as a label file would have them: names, or names with the phrases that stand for them.

    Raises:
        TypeError: one string.
        LabelsError: none at all, or an empty one.
    """
    if isinstance(labels, Mapping):
        pairs = [(name, as_names(phrases)) for name, phrases in labels.items()]
    else:
        pairs = [(name, [spoken(tidy(name))]) for name in as_texts(labels, "labels")]
    found = {tidy(name): Label(tidy(name), tuple(dict.fromkeys(map(tidy, phrases)))) for name, phrases in pairs}
    if not found:
        raise LabelsError("no labels given", hint="labels=['cat', 'dog']")
    for label in found.values():
        if not label.name or not label.phrases or not all(label.phrases):
            raise LabelsError(f"an empty label or phrase: {label.name!r}")
    return tuple(found.values())
