#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The tools that pip cannot install: a C++ compiler, perl, Python as a shared library; in CI also clang++ as a second
# compiler, and Chromium with its driver, in which the report page is tested.  As root on Debian or Ubuntu they are
# installed; anybody else is told how.
set -eu

missing=""
command -v g++ >/dev/null 2>&1 || missing="$missing g++"
command -v perl >/dev/null 2>&1 || missing="$missing perl" # Verilator is started by a Perl script
"${PYTHON:-python3}" -c 'import venv, ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
# cocotb loads Python into the simulator.
"${PYTHON:-python3}" - <<'EOF' 2>/dev/null || missing="$missing $("${PYTHON:-python3}" -c 'import sys; print("libpython%d.%d" % sys.version_info[:2])')"
import ctypes, os, sysconfig
name, folder = sysconfig.get_config_var("INSTSONAME"), sysconfig.get_config_var("LIBDIR")
found = os.path.join(folder, name)
ctypes.CDLL(found if os.path.exists(found) else name)
EOF
if [ -n "${CI:-}" ]; then
  command -v clang++ >/dev/null 2>&1 || missing="$missing clang"
  command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium"
  command -v chromedriver >/dev/null 2>&1 || missing="$missing chromium-driver"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing:$missing"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
  echo "These tools are needed and not installed:$missing" >&2
  echo "Debian, Ubuntu:  sudo apt-get install$missing" >&2
  echo "Fedora:          sudo dnf install gcc-c++ perl clang python3 chromium chromedriver" >&2
  exit 1
fi
