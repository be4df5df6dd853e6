from __future__ import annotations

import torch

from training.losses import concept_loss
from training.train_images import rate


def test_scores_of_names_that_are_no_rivals_do_not_matter():
    rivals = torch.tensor([[True, True, False], [True, True, True], [False, True, True]])
    labels = torch.tensor([[0, -1, -1]])
    weights = torch.ones(1, 3)
    low = concept_loss(torch.tensor([[2.0, 0.0, -9.0]]), labels, rivals, weights)
    high = concept_loss(torch.tensor([[2.0, 0.0, 9.0]]), labels, rivals, weights)
    assert torch.equal(low, high)
    assert low < concept_loss(torch.tensor([[0.0, 2.0, 0.0]]), labels, rivals, weights)


def test_pictures_without_a_concept_cost_nothing():
    labels = torch.full((2, 3), -1)
    assert concept_loss(torch.zeros(2, 4), labels, torch.ones(4, 4, dtype=torch.bool), torch.ones(2, 3)) == 0


def test_the_rate_rises_stays_and_falls():
    rates = [rate(step, 1000, 1.0, 0.3) for step in range(1000)]
    assert rates[0] < 0.01
    assert rates[300] == rates[600] == 1.0
    assert rates[-1] < 0.01
    assert rates[700:] == sorted(rates[700:], reverse=True)
    assert rate(600, 2000, 1.0, 0.3) == 1.0
