"""``python -m da_toolkit`` is ``da-toolkit``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
