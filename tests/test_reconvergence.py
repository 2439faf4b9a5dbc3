# SPDX-License-Identifier: Apache-2.0
"""Paths that meet again: buffers that keep the full rate, and what is refused because it would wait for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from hardware import plan
from meeting_paths import NETWORKS, crossed, skip, states, with_buffers
from test_hls_networks import check

import hwgen
from hwgen.dataflow import BufferNode, Dataflow
from hwgen.errors import ConfigError, UnsupportedError
from hwgen.network import Network
from hwgen.progress import check_progress
from hwgen.rtl_cycles import predict
from hwgen.vectors import longest_length


def planned(network: Network, seed: int | None = None, clock_mhz: float = 100.0) -> Dataflow:
    design = plan(network, seed, clock_mhz=clock_mhz)
    assert isinstance(design, Dataflow)
    return design


def buffers(design: Dataflow) -> list[BufferNode]:
    return [node for node in design.nodes if isinstance(node, BufferNode)]


def cycles_of_a_sequence(design: Dataflow) -> int:
    """What one more of the greatest length costs, where several follow each other."""
    length = longest_length(design) or 30
    ends = [predict(design, [length] * count).last for count in (3, 4)]
    return ends[1] - ends[0]


# In the second of these a vector less would be slower.
@pytest.mark.parametrize(("seed", "clock_mhz"), [(None, 100.0), (1, 50.0)])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_larger_buffer_would_be_faster(name: str, seed: int | None, clock_mhz: float) -> None:
    """Buffers are needed, and as large as the full rate needs."""
    make, waits = NETWORKS[name]
    design = planned(make(), seed, clock_mhz)
    assert buffers(design)
    cycles = cycles_of_a_sequence(design)
    assert cycles == cycles_of_a_sequence(with_buffers(design, 10))
    bare = with_buffers(design, 0)
    assert not buffers(bare)
    if waits:
        with pytest.raises(UnsupportedError, match="its hardware would wait for ever: .* waits for .*, which waits"):
            check_progress(bare)
    else:
        check_progress(bare)
        assert cycles_of_a_sequence(bare) > 1.2 * cycles


def test_a_few_vectors_wait_for_a_layer_and_whole_sequences_for_its_end() -> None:
    (few,) = buffers(planned(skip(first=False)))
    assert (few.sequences, few.depth // few.inputs[0].beats) == (0, 3)
    design = planned(states())
    (whole,) = buffers(design)
    assert whole.sequences == 1
    assert 0 <= whole.depth // whole.inputs[0].beats - design.options.max_length <= 4
    (both,) = buffers(planned(states(reverse=True)))
    assert both.sequences == 2
    # A reversal holds sequences itself.
    assert not buffers(planned(states(second_reverse=True)))


def test_sequences_are_as_long_as_buffers_allow() -> None:
    assert longest_length(hwgen.schedule(states(), max_length=40)) == 40
    assert longest_length(hwgen.schedule(states())) == 512
    with pytest.raises(ConfigError, match="^--max-length sizes the buffers of whole sequences; this model needs none"):
        hwgen.schedule(skip(first=False), max_length=40)


def test_what_would_wait_for_ever_is_refused_with_the_units_that_wait() -> None:
    """Neither input can go on before the other one does; each path by itself would be long enough."""
    with pytest.raises(UnsupportedError) as caught:
        hwgen.schedule(crossed())
    message = str(caught.value)
    assert message.startswith("'by hand': its hardware would wait for ever: ")
    assert "hwgen run computes it" in message
    circle = message.removeprefix("'by hand': its hardware would wait for ever: ").split(";")[0].split(" waits for ")
    units = [part.removesuffix(", which") for part in circle]
    assert units[0] == units[-1]
    assert {"one", "two"} <= set(units)


@pytest.mark.parametrize(("name", "seed"), [("a stack", 2), ("states beside", 1), ("everything", 1)])
def test_hls(name: str, seed: int, tmp_path: Path) -> None:
    check(planned(NETWORKS[name][0](), seed), tmp_path)
