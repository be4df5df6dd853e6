"""What the image tower is trained towards: its concepts, and the teacher's view of the same pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from training.data import Batch
    from training.model import Student

SMOOTHING = 0.05
TEACHER_SCALE = 40.0  # softer than the teacher's own 100: its second thoughts count
KL_WEIGHT = 0.6
BRIDGE_WEIGHT = 1.0


def concept_loss(
    scores: torch.Tensor, labels: torch.Tensor, rivals: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Softmax cross-entropy of each picture's concepts, each against its own rivals only."""
    total = scores.new_zeros(())
    for column in range(labels.shape[1]):
        rows = (labels[:, column] >= 0).nonzero().squeeze(1)
        if not len(rows):
            continue
        target = labels[rows, column]
        allowed = rivals[target]
        logits = scores[rows].masked_fill(~allowed, -torch.inf)
        chances = logits.log_softmax(-1)
        mean = chances.masked_fill(~allowed, 0).sum(-1) / allowed.sum(-1)
        right = chances.gather(1, target[:, None]).squeeze(1)
        each = -(1 - SMOOTHING) * right - SMOOTHING * mean
        total = total + (each * weights[rows, column]).sum()
    return total / len(labels)


def teacher_loss(student: Student, vectors: torch.Tensor, teacher: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
    """Distance to the teacher: of its vectors through the bridge, and of its opinion on the ImageNet names."""
    known = teacher.any(-1).nonzero().squeeze(1)
    if not len(known):
        return vectors.new_zeros(())
    mine, theirs = vectors[known], teacher[known]
    far = 1 - nn.functional.cosine_similarity(student.bridge(mine), theirs)
    opinion = (TEACHER_SCALE * theirs @ names.T).softmax(-1)
    guess = student.scores(mine, student.names).log_softmax(-1)
    gap = nn.functional.kl_div(guess, opinion, reduction="none").sum(-1)
    return (BRIDGE_WEIGHT * far + KL_WEIGHT * gap).sum() / len(vectors)


def loss(
    student: Student, batch: Batch, rivals: torch.Tensor, names: torch.Tensor | None
) -> tuple[torch.Tensor, float]:
    """The whole loss, and the share of pictures whose best rival-free guess is right."""
    vectors = student(batch.pixels)
    scores = student.scores(vectors, student.concepts)
    total = concept_loss(scores, batch.labels, rivals, batch.weights)
    if names is not None:
        total = total + teacher_loss(student, vectors, batch.teacher, names)
    with torch.no_grad():
        first = scores.masked_fill(~rivals[batch.labels[:, 0]], -torch.inf).argmax(-1)
        right = (first == batch.labels[:, 0]).float().mean().item()
    return total, right
