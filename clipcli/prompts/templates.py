"""Templates: texts with `{}` for the label."""

from __future__ import annotations

import re

from clipcli.inputs.text_files import Fault, Faults, content_lines, escape, plain, quoted, tidy, unusable

PLACE = "{}"
"""The placeholder of the label; `{c}`, as in CLIP_benchmark, means the same."""

_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
"""Literal braces, fields and stray braces, as in `str.format`."""
_LOOKALIKE = re.compile(r"%s|<\w+>|\[\w+\]|\(\)|\$\w+")
"""Placeholders of other tools."""
_LITERAL = {"{{": "{", "}}": "}"}
_SHOWN = 40
"""Most characters of a field that a message repeats."""


def fill(template: str, phrase: str) -> str:
    """Return the template with the phrase in each placeholder; `{{` and `}}` become braces."""
    return _BRACES.sub(lambda match: _LITERAL.get(match[0], phrase), template)


def check_template(text: str, *, whole: bool = False) -> tuple[str, str] | None:
    """Return a template's problem and a hint, or None if it is good.

    Args:
        text: the template.
        whole: accept a text without placeholder: a prompt of a single label.
    """
    if problem := unusable(text):
        return f"{problem}: {quoted(text)}", ""
    fields = [match[0] for match in _BRACES.finditer(text) if match[0] not in _LITERAL]
    for field in fields:
        if len(field) == 1:
            return f"a stray {field} in {quoted(text)}", f"{PLACE} stands for the label, {field * 2} for a brace"
        if field not in (PLACE, "{c}"):
            return (
                f"{field if len(field) <= _SHOWN else field[:_SHOWN] + '…'} in {quoted(text)}",
                f"write {PLACE} for the label",
            )
    if fields or whole:
        return None
    lookalike = _LOOKALIKE.search(text)
    suggestion = (
        f"{PLACE} instead of {lookalike[0]}" if lookalike else f"for example {quoted(text.rstrip('.') + ' ' + PLACE)}"
    )
    return f"no {PLACE} in {quoted(text)}", suggestion


def normal(text: str) -> str:
    """Return a valid template in normal form: tidy, with `{}` for `{c}`."""
    return _BRACES.sub(lambda match: PLACE if match[0] == "{c}" else match[0], tidy(text))


def template_line(template: str) -> str:
    """Return the line of a template file that parses as this template."""
    return escape(template)


def parse_lines(text: str, source: str) -> tuple[tuple[str, ...], list[Fault]]:
    """Return the templates of a text file, one per line without duplicates, and all its faults."""
    faults = Faults(source)
    templates: dict[str, None] = {}
    for number, line in content_lines(text, faults):
        template = plain(line)
        if fault := check_template(template):
            faults.add(number, *fault)
        else:
            templates[normal(template)] = None
    if not templates and not faults.found:
        faults.add(None, "holds no templates", f"one template per line, {PLACE} for the label")
    return tuple(templates), faults.in_order()


def purpose(text: str) -> str:
    """Return the purpose of a template file: its first comment."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return first.strip().lstrip("#").strip() if first.lstrip().startswith("#") else ""
