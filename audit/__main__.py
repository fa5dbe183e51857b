"""The command, as `python -m audit` and for a process that is spawned."""

import sys

from audit.cli import main

if __name__ == "__main__":  # a process that somebody's code spawns imports this module again
    sys.exit(main())
