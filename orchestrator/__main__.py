"""``python -m orchestrator``: the same as ``wbc serve``, with its options."""

import sys

from orchestrator.commands.cli import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
