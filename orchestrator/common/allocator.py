"""How the C library's allocator holds the memory of images."""

import ctypes
import logging
import sys
from typing import Final

_LOGGER = logging.getLogger(__name__)

_MIB: Final = 2**20

_OPTIONS: Final = {
    "M_MMAP_THRESHOLD": (-3, 4 * _MIB),
    "M_TRIM_THRESHOLD": (-1, 16 * _MIB),
    "M_ARENA_MAX": (-8, 2),
}
"""Number of the option in ``malloc.h`` of the GNU C library, and its value."""


def keep_image_memory() -> None:
    """Let freed images be used again by the next request; two pools of memory for all threads.

    By default glibc maps every array of more than 128 KiB anew and gives it back when it is freed, so that
    each step on an image pays for fresh pages: a fifth of the time outside the network. And it keeps a pool
    for each thread, each as large as its largest request: 80 MB. See mallopt(3). Of no effect where the C
    library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return
    for name, (option, value) in _OPTIONS.items():
        if not mallopt(option, value):
            _LOGGER.warning("the C library does not take %s = %d", name, value)
