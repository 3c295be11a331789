"""The client of the WBC analysis service, as a distribution of its own.

For research use only. Not for use in diagnostic procedures.
"""

from wbc_client.client import *  # type: ignore[import-not-found]  # noqa: F403
