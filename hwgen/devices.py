# SPDX-License-Identifier: Apache-2.0
"""FPGA parts that hwgen knows, with the limits their data sheets state."""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.errors import ConfigError, listing, printable


@dataclass(frozen=True)
class Device:
    """A part: its ordering name, and how many LUTs, flip-flops, DSP slices and 36 kbit block RAMs it has."""

    name: str
    part: str
    lut: int
    ff: int
    dsp: int
    bram36: int

    @property
    def flow(self) -> str:
        """The Yosys flow whose resources are predicted, which says what family a part is of.

        UltraScale parts have wider DSPs than 7 series.
        """
        return next(flow for prefix, flow in _FLOWS.items() if self.name.startswith(prefix))

    @property
    def flows(self) -> tuple[str, ...]:
        """The flows that count what this part has: LUTs of as many inputs, the same block RAM."""
        return _AMD if self.is_amd else (self.flow,)

    @property
    def is_amd(self) -> bool:
        """Whether it is a part that Vitis and Vivado know."""
        return self.flow in _AMD


# By the beginning of their names, the more special first.
_FLOWS = {"xc7": "xc7", "xc": "xcup", "lfe5u": "ecp5"}
_AMD = ("xc7", "xcup")
# AMD data sheets DS190 (Zynq-7000), DS180 (7 series), DS891 (Zynq UltraScale+), DS890 (UltraScale), DS962 (Alveo);
# Lattice FPGA-DS-02012 (ECP5), LUTs and flip-flops as nextpnr has them: block RAMs of 18 kbit are halves.
DEVICES = {
    device.name: device
    for device in (
        Device("xc7z010", "xc7z010clg400-1", 17_600, 35_200, 80, 60),
        Device("xc7z020", "xc7z020clg400-1", 53_200, 106_400, 220, 140),
        Device("xc7z045", "xc7z045ffg900-2", 218_600, 437_200, 900, 545),
        Device("xc7s15", "xc7s15cpga196-1", 8_000, 16_000, 20, 10),
        Device("xc7a35t", "xc7a35tcpg236-1", 20_800, 41_600, 90, 50),
        Device("xc7a100t", "xc7a100tcsg324-1", 63_400, 126_800, 240, 135),
        Device("xc7k325t", "xc7k325tffg900-2", 203_800, 407_600, 840, 445),
        Device("xczu3eg", "xczu3eg-sbva484-1-e", 70_560, 141_120, 360, 216),
        Device("xczu7ev", "xczu7ev-ffvc1156-2-e", 230_400, 460_800, 1_728, 312),
        Device("xcku115", "xcku115-flva1517-2-e", 663_360, 1_326_720, 5_520, 2_160),
        Device("xcu250", "xcu250-figd2104-2L-e", 1_728_000, 3_456_000, 12_288, 2_688),
        Device("lfe5u-25f", "lfe5u-25f-8bg256c", 24_288, 24_288, 28, 28),
        Device("lfe5u-45f", "lfe5u-45f-8bg256c", 43_848, 43_848, 72, 54),
        Device("lfe5u-85f", "lfe5u-85f-8bg381c", 83_640, 83_640, 156, 104),
    )
}


def device(target: str) -> Device:
    """The device of a part name: one of ``DEVICES``, or a full part number that begins with its name."""
    wanted = target.lower()
    for name, found in DEVICES.items():
        if wanted == name:
            return found
        if wanted.startswith(name) and wanted.replace("-", "").isalnum():
            return Device(name, wanted, found.lut, found.ff, found.dsp, found.bram36)
    raise ConfigError(f"--target must be, or begin with, one of {listing(DEVICES, 20)}, not {printable(target)}")
