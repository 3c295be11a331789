"""Thin orchestrator of the white-blood-cell analysis service.

For research use only. Not for use in diagnostic procedures.
"""

__version__ = "0.4.0"
