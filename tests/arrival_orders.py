# SPDX-License-Identifier: Apache-2.0
"""Time steps of several sequences in any order, where hwgen's own vectors let the contexts take turns."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hwgen.interleaving import Arrival, Order

SEED = 3


def at_random(order: Order) -> Iterator[Arrival]:
    """Any context goes on, or begins the next sequence: some wait long, some have several steps one after the other."""
    choose = random.Random(SEED)
    waiting = list(range(len(order.lengths)))
    current: dict[int, tuple[int, int]] = {}
    while waiting or current:
        context = choose.randrange(order.contexts)
        for _ in range(choose.choice((1, 1, 2, 5))):
            if context not in current:
                if not waiting:
                    break
                current[context] = waiting.pop(0), 0
            sequence, step = current.pop(context)
            last = step + 1 == order.lengths[sequence]
            if not last:
                current[context] = sequence, step + 1
            yield Arrival(sequence, step, last, context)
