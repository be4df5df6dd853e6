"""What `clipcli prompts show` prints: lines that a file can be made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.errors import UsageError
from clipcli.prompts.labels import label_line, parse_labels
from clipcli.prompts.sets import expand, load_prompts, require_prompts
from clipcli.prompts.templates import template_line

if TYPE_CHECKING:
    from collections.abc import Sequence


def listing(names: Sequence[str], comma_lists: Sequence[str], label_files: Sequence[str]) -> list[str]:
    """The templates of the joined sets as lines of a file; with labels, the texts that are embedded for each instead.

    A named set of labels (`@imagenet`) is listed as lines of a label file.

    Raises:
        UsageError: the set holds only prompts of single labels and no label is given, or labels are asked of labels.
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
        raise UsageError(f"{prompts.name} holds prompts of single labels", hint="add -l LABEL to see those of a label")
    return [template_line(template) for template in prompts.templates]
