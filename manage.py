#!/usr/bin/env python
"""Django's command line, inside the environment that `./hub` made."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hie.settings")
    root = str(Path(__file__).resolve().parent)
    if root not in sys.path:
        sys.path.insert(0, root)
    from hie import heap

    heap.load()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
