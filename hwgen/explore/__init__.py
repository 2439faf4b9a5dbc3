# SPDX-License-Identifier: Apache-2.0
"""Exploration: which foldings of a network are worth having, predicted for all and measured for some."""
