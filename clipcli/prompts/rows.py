"""The rows and lines that `clipcli prompts` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clipcli.errors import UsageError
from clipcli.prompts.labels import label_line, parse_labels
from clipcli.prompts.sets import expand, load_prompts, require_prompts
from clipcli.prompts.templates import template_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clipcli.prompts.sets import ShippedSet


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
