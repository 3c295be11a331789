"""Whether a heatmap lies where the morphology of the class is looked for.

A judgement about the explanation, not about the cell: it compares the shares of the heatmap's mass on
nucleus, cytoplasm and background with the regions of :mod:`orchestrator.report.morphology`.
"""

from typing import Final, Literal

from orchestrator.domain import MIN_FOCUS_RATIO, Focus, FocusShares
from orchestrator.report.morphology import Morphology, Region

Place = Literal["nucleus", "cytoplasm", "spread", "background", "nowhere"]
Agreement = Literal["agrees", "partly", "disagrees"]

MAJORITY: Final = 0.5
"""From this share on, the heatmap lies "mostly" on a region."""

COVERED: Final = 0.2
"""From this share on, a structure counts as looked at. The maps are 7x7: less is within their blur."""


def place_of(focus: Focus) -> Place:
    """Where the heatmap lies: the region with most of its mass, or ``spread`` where none has."""
    shares = focus.shares
    if shares.nucleus + shares.cytoplasm + shares.background <= 0:
        return "nowhere"
    if focus.focus_ratio < MIN_FOCUS_RATIO:
        return "background"
    if shares.nucleus >= MAJORITY:
        return "nucleus"
    if shares.cytoplasm >= MAJORITY:
        return "cytoplasm"
    return "spread"


def agreement(morphology: Morphology, shares: FocusShares) -> Agreement:
    """``agrees``: every decisive structure's region is covered, and together they hold the majority.

    ``partly``: one of them is covered, or a supporting structure's region holds the majority.
    """
    decisive_regions: set[Region] = set().union(*(s.regions for s in morphology.decisive))
    covered = [_mass(s.regions, shares) >= COVERED for s in morphology.decisive]
    if all(covered) and _mass(decisive_regions, shares) >= MAJORITY:
        return "agrees"
    if any(covered) or any(_mass(s.regions, shares) >= MAJORITY for s in morphology.structures):
        return "partly"
    return "disagrees"


def _mass(regions: frozenset[Region] | set[Region], shares: FocusShares) -> float:
    return sum((shares.nucleus if region == "nucleus" else shares.cytoplasm) for region in regions)
