"""
The command `ipcl` where it is not on the path: python -m ipcl_core.
"""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
