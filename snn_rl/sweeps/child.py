"""``python -m snn_rl.sweeps.child PARENT MODULE ...`` is ``python -m MODULE ...`` that ends when who started it does.

Where a node is lost, or the process that looks after a cell is killed, nothing shall go on writing into the cell's folder.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import sys

PR_SET_PDEATHSIG, SIGKILL = 1, 9  # of Linux


def main() -> None:
    """Ties this process to its parent, where the system can, and trains."""
    parent, module, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
        if os.getppid() != int(parent):  # it has ended already
            sys.exit(1)
    sys.argv = ["", *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
