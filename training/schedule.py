"""Learning rates of runs that may be stopped."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler


def go_on(schedule: LRScheduler, step: int) -> None:
    """Set the rates of this step: a run that goes on may have got another number of steps."""
    schedule.last_epoch = step - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the optimizer made no step yet
        schedule.step()
