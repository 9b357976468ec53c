"""``python -m da_toolkit`` is ``da-toolkit``."""

import sys

from .cli import main

sys.exit(main())
