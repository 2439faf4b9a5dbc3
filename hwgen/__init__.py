# SPDX-License-Identifier: Apache-2.0
"""hwgen: quantized recurrent networks, from Brevitas' ONNX to FPGA hardware that computes exactly the same.

network = hwgen.load("model.onnx")
y = network.run({"x": x})
design = hwgen.schedule(network, target="xc7z020", clock_mhz=100)
project = hwgen.build(design, "out")
report = project.verify()
"""

from __future__ import annotations

__version__ = "0.1.0"

# Eager, since the function ``schedule`` must win over the module of the same name.
from hwgen.api import Project, build, calibrate, lower, open_project
from hwgen.dataflow import Dataflow
from hwgen.explore.automatic import schedule
from hwgen.export import export_qonnx
from hwgen.folding import Folding
from hwgen.frontend import load
from hwgen.network import Network
from hwgen.schedule import Schedule

__all__ = [
    "Dataflow",
    "Folding",
    "Network",
    "Project",
    "Schedule",
    "__version__",
    "build",
    "calibrate",
    "export_qonnx",
    "load",
    "lower",
    "open_project",
    "schedule",
]
