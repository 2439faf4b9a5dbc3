# SPDX-License-Identifier: Apache-2.0
"""Arithmetic on numbers, or alike on arrays of them: what laws of cycles and resources need beyond operators."""

from __future__ import annotations

from typing import Any

import numpy as np

# A number, or an array with an entry for each of several designs.
Value = Any


def choose(condition: Value, one: Value, other: Value) -> Value:
    """``one`` where the condition holds, ``other`` elsewhere."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, one, other)
    return one if condition else other


def greater(one: Value, other: Value) -> Value:
    """The greater of two."""
    return choose(one > other, one, other)


def common_divisor(one: Value, other: Value) -> Value:
    """The greatest number that divides both."""
    found = np.gcd(one, other)
    return found if isinstance(found, np.ndarray) else int(found)


def counter_bits(count: Value) -> Value:
    """Bits of a counter from 0 to below ``count``, at least one."""
    if isinstance(count, np.ndarray):
        # The exponent of a number is that of the power of two above it.
        return np.maximum(1, np.frexp(count - 1)[1])
    return max(1, int(count - 1).bit_length())
