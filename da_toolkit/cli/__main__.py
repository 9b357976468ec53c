"""``python -m da_toolkit.cli`` is ``da-toolkit``."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
