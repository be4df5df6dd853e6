"""Templates: texts with a place for the label."""

from __future__ import annotations

import re

from clipcli.inputs.text_files import Fault, Faults, content_lines, escape, plain, quoted, tidy, unusable

PLACE = "{}"
"""Where the label goes; `{c}`, CLIP_benchmark's way to write it, is read as the same."""

_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
"""Literal braces, fields, stray braces: the reading of `str.format`."""
_LOOKALIKE = re.compile(r"%s|<\w+>|\[\w+\]|\(\)|\$\w+")
"""What other tools write in the place of the label."""
_LITERAL = {"{{": "{", "}}": "}"}
_SHOWN = 40
"""Characters of a field that a message repeats."""


def fill(template: str, phrase: str) -> str:
    """Return the template with the phrase in each place; `{{` and `}}` become braces, braces in the phrase stay."""
    return _BRACES.sub(lambda match: _LITERAL.get(match[0], phrase), template)


def check_template(text: str, *, whole: bool = False) -> tuple[str, str] | None:
    """Return what is wrong with a template and what to do, or None.

    `whole` texts may do without a place for the label.
    """
    if problem := unusable(text):
        return f"{problem}: {quoted(text)}", ""
    fields = [match[0] for match in _BRACES.finditer(text) if match[0] not in _LITERAL]
    for field in fields:
        if len(field) == 1:
            return f"a stray {field} in {quoted(text)}", f"{PLACE} is the place of the label, {field * 2} a brace"
        if field not in (PLACE, "{c}"):
            return (
                f"{field if len(field) <= _SHOWN else field[:_SHOWN] + '…'} in {quoted(text)}",
                f"write {PLACE} for the place of the label",
            )
    if fields or whole:
        return None
    other = _LOOKALIKE.search(text)
    suggestion = f"{PLACE} instead of {other[0]}" if other else f"for example {quoted(text.rstrip('.') + ' ' + PLACE)}"
    return f"no {PLACE} in {quoted(text)}", suggestion


def normal(text: str) -> str:
    """Return a good template in the one form that sets hold: tidy, with `{}` for `{c}`."""
    return _BRACES.sub(lambda match: PLACE if match[0] == "{c}" else match[0], tidy(text))


def template_line(template: str) -> str:
    """Return the line of a template file that reads back as this template."""
    return escape(template)


def parse_lines(text: str, source: str) -> tuple[tuple[str, ...], list[Fault]]:
    """Return the templates of a text file, one a line and each once, and everything that is wrong with it."""
    faults = Faults(source)
    templates: dict[str, None] = {}
    for number, line in content_lines(text, faults):
        template = plain(line)
        if fault := check_template(template):
            faults.add(number, *fault)
        else:
            templates[normal(template)] = None
    if not templates and not faults.found:
        faults.add(None, "holds no templates", f"one template a line, {PLACE} where the label goes")
    return tuple(templates), faults.in_order()


def purpose(text: str) -> str:
    """Return what a template file says about itself: its first comment."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return first.strip().lstrip("#").strip() if first.lstrip().startswith("#") else ""
