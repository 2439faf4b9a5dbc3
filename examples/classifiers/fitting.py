# SPDX-License-Identifier: Apache-2.0
"""Training and running classifiers on sequences of unequal lengths, without padding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from classifiers import Classifier
from experiments import Experiment, Training
from samples import Integers, Reals, Samples
from torch import Tensor, nn


def fit(classifier: Classifier, experiment: Experiment, training: Training, data: Samples) -> None:
    """Train in place with AdamW under a one-cycle schedule, adding Gaussian noise to the inputs."""
    # Scales are the only scalars among the parameters. Decay would drag them to zero, so they have none.
    weights = [p for p in classifier.parameters() if p.ndim > 0]
    scales = [p for p in classifier.parameters() if p.ndim == 0]
    groups: list[dict[str, Any]] = [{"params": weights, "lr": training.rate, "weight_decay": training.weight_decay}]
    if scales:
        groups.append({"params": scales, "lr": training.scale_rate, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups)
    steps = training.epochs * len(_batches(data, experiment.batch))
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, [group["lr"] for group in groups], total_steps=steps)
    classifier.train()
    for _ in range(training.epochs):
        for chosen in _batches(data, experiment.batch):
            x = _stacked(data, chosen, experiment.shortest_cut)
            x = x + experiment.noise * torch.randn_like(x)
            loss = nn.functional.cross_entropy(classifier(x)[0], torch.from_numpy(data.labels[chosen]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
            optimizer.step()
            cycle.step()


def _batches(data: Samples, size: int) -> list[Integers]:
    """Batches of at most ``size`` sequences of about the same length, shuffled."""
    shuffled = torch.randperm(len(data)).numpy()
    order = shuffled[np.argsort(data.lengths[shuffled], kind="stable")]
    batches = [order[begin : begin + size] for begin in range(0, len(order), size)]
    return [batches[index] for index in torch.randperm(len(batches)).tolist()]


def _stacked(data: Samples, chosen: Integers, shortest_cut: float) -> Tensor:
    """Sequences [steps, n, features], cut at random to the length of the shortest: none needs padding."""
    steps = int(data.lengths[chosen].min())
    if shortest_cut < 1:
        steps = int(torch.randint(math.ceil(shortest_cut * steps), steps + 1, ()))
    begins = [int(torch.randint(len(data.sequences[index]) - steps + 1, ())) for index in chosen]
    pairs = zip(chosen, begins, strict=True)
    return torch.from_numpy(np.stack([data.sequences[index][begin : begin + steps] for index, begin in pairs], axis=1))


@torch.no_grad()
def run(classifier: Classifier, data: Samples) -> tuple[Reals, Integers]:
    """Logits [n, classes] and classes [n] of all sequences; those of one length are one batch."""
    classifier.eval()
    logits: list[Any] = [None] * len(data)
    labels = np.zeros(len(data), np.int64)
    for chosen, x in data.by_length():
        found, best = classifier(torch.from_numpy(x))
        for index, row in zip(chosen, found.numpy(), strict=True):
            logits[index] = row
        labels[chosen] = best.numpy()
    return np.stack(logits), labels
