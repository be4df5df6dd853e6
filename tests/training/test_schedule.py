from __future__ import annotations

import torch

from training.schedule import go_on


def schedule(steps: int) -> torch.optim.lr_scheduler.OneCycleLR:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, steps, cycle_momentum=False)


def rate(made: torch.optim.lr_scheduler.OneCycleLR) -> float:
    return made.optimizer.param_groups[0]["lr"]


def test_a_run_that_goes_on_has_the_rate_of_its_step():
    whole = schedule(10)
    for _ in range(6):
        whole.optimizer.step()
        whole.step()
    continued = schedule(10)
    go_on(continued, 6)
    assert rate(continued) == rate(whole)
    shorter = schedule(8)
    go_on(shorter, 6)
    assert rate(shorter) < rate(whole)
