# SPDX-License-Identifier: Apache-2.0
"""The design space: every legal folding of a network predicted at once, the Pareto front, and the best for a target."""
