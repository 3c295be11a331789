"""``python -m training`` is ``wbc-train``."""

from training.cli import main

main()
