# SPDX-License-Identifier: Apache-2.0
"""hwgen's own way to a graph of adders: weights in canonical signed digits, sums of two that rows share added once."""

from __future__ import annotations

import heapq
from collections import Counter

from hwgen.adders.graph import Adder, AdderGraph, Term
from hwgen.quantizer import IntArray

# Pairs of digits among which shared ones are looked for at once; of larger matrices groups of columns are taken.
MOST_PAIRS = 2_000_000
# A digit of a row is (node, shift) with its sign; a pair is (left, right, right's shift beyond left's, minus).
_Digit = tuple[int, int]
_Pair = tuple[int, int, int, bool]


def signed_digits(value: int) -> list[tuple[int, bool]]:
    """The canonical signed digits of a number: (shift, minus), no two of them side by side.

    >>> signed_digits(7)
    [(0, True), (3, False)]
    """
    found, shift = [], 0
    while value:
        if value & 1:
            minus = value & 3 == 3
            found.append((shift, minus))
            value += 1 if minus else -1
        value >>= 1
        shift += 1
    return found


def solve(matrix: IntArray, lo: int, hi: int) -> AdderGraph:
    """The graph of a matrix [rows, columns] for codes lo..hi, of the least depth that its digits allow."""
    rows = [
        {(column, shift): minus for column, weight in enumerate(row) for shift, minus in signed_digits(weight)}
        for row in matrix.tolist()
    ]
    builder = _Builder(matrix.shape[1], rows)
    pairs = sum(len(row) ** 2 // 2 for row in rows)
    # As many groups of columns as bring the pairs within a group below the limit.
    groups = max(1, -(-pairs // MOST_PAIRS))
    builder.group = [column * groups // matrix.shape[1] for column in range(matrix.shape[1])]
    builder.share()
    terms = tuple(builder.add_up(row) for row in rows)
    return AdderGraph(matrix.shape[1], lo, hi, tuple(builder.adders), terms, "own")


class _Builder:
    """Rows of digits, which become fewer as adders become more."""

    def __init__(self, columns: int, rows: list[dict[_Digit, bool]]) -> None:
        self.columns, self.rows = columns, rows
        self.adders: list[Adder] = []
        self.level = [0] * columns
        self.group = [0] * columns
        # A row of digits at levels l can be added up within depth d if the sum of 2^l is at most 2^d.
        self.most = 1 << max((len(row) - 1).bit_length() if row else 0 for row in rows)
        self.weight = [len(row) for row in rows]
        self.known: dict[Adder, int] = {}

    def node(self, adder: Adder) -> int:
        """The node of an adder, the one that is there already if there is one."""
        if adder not in self.known:
            self.known[adder] = self.columns + len(self.adders)
            self.adders.append(adder)
            self.level.append(1 + max(self.level[adder.left], self.level[adder.right]))
            self.group.append(self.group[adder.left])
        return self.known[adder]

    def pair(self, one: _Digit, other: _Digit, row: dict[_Digit, bool]) -> _Pair:
        """What two digits of a row have in common with others of the same sum."""
        if other < one:
            one, other = other, one
        return one[0], other[0], other[1] - one[1], row[one] != row[other]

    def share(self) -> None:
        """Add up pairs of digits that come up more than once, the most frequent first."""
        counts: Counter[_Pair] = Counter()
        places: dict[_Pair, set[int]] = {}
        for number, row in enumerate(self.rows):
            digits = sorted(row)
            for index, one in enumerate(digits):
                for other in digits[index + 1 :]:
                    if self.group[one[0]] == self.group[other[0]]:
                        pair = self.pair(one, other, row)
                        counts[pair] += 1
                        places.setdefault(pair, set()).add(number)
        queue = [(-count, pair) for pair, count in counts.items() if count > 1]
        heapq.heapify(queue)
        while queue:
            count, pair = heapq.heappop(queue)
            if counts[pair] != -count:
                # It has become rarer since, or it is in the queue again.
                if 1 < counts[pair] < -count:
                    heapq.heappush(queue, (-counts[pair], pair))
                continue
            found = [(number, self._occurrences(number, pair)) for number in sorted(places[pair])]
            if sum(len(digits) for _, digits in found) < 2:
                counts[pair] = 0
                continue
            node = self._adder(pair)
            for number, chosen in found:
                for first, second in chosen:
                    self._replace(number, first, second, node, counts, places, queue)

    def _adder(self, pair: _Pair) -> int:
        left, right, shift, minus = pair
        return self.node(Adder(left, max(-shift, 0), right, max(shift, 0), minus))

    def _occurrences(self, number: int, pair: _Pair) -> list[tuple[_Digit, _Digit]]:
        """Digits of a row that make the pair and may be added up first, none of them twice."""
        row, (left, right, shift, minus) = self.rows[number], pair
        deeper = 1 << 1 + max(self.level[left], self.level[right])
        growth = deeper - (1 << self.level[left]) - (1 << self.level[right])
        found: list[tuple[_Digit, _Digit]] = []
        used: set[_Digit] = set()
        room = self.most - self.weight[number]
        for one in sorted(digit for digit in row if digit[0] == left):
            other = (right, one[1] + shift)
            if other not in row or one in used or other in used or (row[one] != row[other]) != minus:
                continue
            if growth > room:
                break
            room -= growth
            found.append((one, other))
            used |= {one, other}
        return found

    def _replace(
        self,
        number: int,
        one: _Digit,
        other: _Digit,
        node: int,
        counts: Counter[_Pair],
        places: dict[_Pair, set[int]],
        queue: list[tuple[int, _Pair]],
    ) -> None:
        row, new = self.rows[number], (node, min(one[1], other[1]))
        if new in row:
            return
        near = [digit for digit in row if self.group[digit[0]] == self.group[node]]
        for digit in near:
            if digit not in (one, other):
                counts[self.pair(one, digit, row)] -= 1
                counts[self.pair(other, digit, row)] -= 1
        counts[self.pair(one, other, row)] -= 1
        minus = row.pop(one)
        row.pop(other)
        row[new] = minus
        self.weight[number] += (1 << self.level[node]) - (1 << self.level[one[0]]) - (1 << self.level[other[0]])
        for digit in near:
            if digit not in (one, other):
                pair = self.pair(new, digit, row)
                counts[pair] += 1
                places.setdefault(pair, set()).add(number)
                if counts[pair] > 1:
                    heapq.heappush(queue, (-counts[pair], pair))

    def add_up(self, row: dict[_Digit, bool]) -> Term | None:
        """The term of a row: the digits that are left, always those of the lowest levels first."""
        waiting = [(self.level[node], node, shift, minus) for (node, shift), minus in row.items()]
        heapq.heapify(waiting)
        while len(waiting) > 1:
            _, *one = heapq.heappop(waiting)
            _, *other = heapq.heappop(waiting)
            if one[2] and not other[2]:
                # What is subtracted stands on the right.
                one, other = other, one
            low = min(one[1], other[1])
            node = self.node(Adder(one[0], one[1] - low, other[0], other[1] - low, one[2] != other[2]))
            heapq.heappush(waiting, (self.level[node], node, low, bool(one[2])))
        return Term(*waiting[0][1:]) if waiting else None
