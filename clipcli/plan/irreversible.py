"""What cannot come back once an action is done, told before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from clipcli.plan.guarding import is_below
from clipcli.plan.states import look

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.plan.reading import Plan
    from clipcli.plan.rows import PlanRow

CANNOT_UNDO: Final = "it cannot be brought back"


def is_copy(row: PlanRow, keeper: PlanRow) -> bool:
    """Return whether the file that is kept has the same bytes or, as the plan says, the same pixels."""
    if row.sha256 == keeper.sha256:
        return True
    return any(one.keeper == other.path and one.level == "exact" for one, other in ((row, keeper), (keeper, row)))


def no_copies(plan: Plan, protected: Sequence[str]) -> Iterator[PlanRow]:
    """Yield the files that a plan removes, that are still there, and of which no exact copy is kept."""
    for group in plan.groups:
        for row in group.removed:
            if not is_copy(row, group.keeper_of(row)) and look(row.path) and not is_below(row.path, protected):
                yield row
