"""The last cells of each profile, by which images that nobody calls a specimen are judged together."""

import logging
from collections import defaultdict, deque
from typing import Final

from orchestrator.cell_features import Likeness, is_contradicted, own_share, resembled
from orchestrator.observability.metrics import PROFILE_FIT

WINDOW: Final = 50
"""The last cells of a profile that are judged together where nobody says which belong to one specimen."""

_LOGGER = logging.getLogger(__name__)


class RecentCells:
    """The last :data:`WINDOW` cells of each profile that were asked about one by one, in this process.

    Another replica sees other cells and comes to its own conclusion; a new process begins with none.
    """

    def __init__(self) -> None:
        self._cells: dict[str, deque[Likeness]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._contradicted: set[str] = set()

    def add(self, profile: str, cell: Likeness) -> None:
        """Count one more cell of a profile, and say in metric and log what that changes."""
        cells = self._cells[profile]
        cells.append(cell)
        if (share := own_share(profile, cells)) is None:
            return
        PROFILE_FIT.labels(profile).set(share)
        if (contradicted := self.contradicts(profile)) == (profile in self._contradicted):
            return
        (self._contradicted.add if contradicted else self._contradicted.discard)(profile)
        _LOGGER.warning(
            "of the last %d cells under profile %s %.0f %% look like those of its device: its microscope %s",
            len(cells),
            profile,
            100 * share,
            "counts as unknown" if contradicted else "counts as the profile says again",
        )

    def contradicts(self, profile: str) -> bool:
        """Whether the last cells of a profile are not those of its device."""
        return is_contradicted(profile, self._cells[profile])

    def resembled(self, profile: str) -> str | None:
        """The profile whose cells the last ones of a profile look like."""
        return resembled(self._cells[profile])
