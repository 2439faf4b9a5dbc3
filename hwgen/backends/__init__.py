# SPDX-License-Identifier: Apache-2.0
"""Backends: a schedule to {path: text}.  They write nothing themselves."""
