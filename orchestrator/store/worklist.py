"""Pages of specimens: in which order they come, and what is after a place in it.

A page is read state by state, each of them in the order of an index, and merged: so that it costs as much
among ten thousand specimens as among a hundred, whatever is closed by then. Only where they are sorted by
doubt and chosen by time, all of a state may be looked at.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.errors import UnknownDifferential
from orchestrator.specimen import BY_STATE, SpecimenSearch, SpecimenSort, SpecimenState
from orchestrator.store.rows import specimen_of
from orchestrator.store.tables import SPECIMENS
from orchestrator.store.trail_replay import Kept

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_CURSOR: Final = re.compile(r"(-?[a-z]+)\.([0-9])\.([0-9]{1,17})\.([0-9]{1,10})")
_RANKS: Final[Mapping[str, int]] = {state: rank for rank, state in enumerate(BY_STATE)}


class Order(NamedTuple):
    """Of a list, by what ``sort`` says."""

    sort: SpecimenSort
    created_at: ColumnElement[str]

    @property
    def _is_down(self) -> bool:
        return self.sort.startswith("-")

    @property
    def _by(self) -> str:
        return self.sort.removeprefix("-")

    def place_of(self, row: Row[Any]) -> tuple[int, int, int]:
        """Where a row comes: places of rows compare as the rows are sorted."""
        value = row.unreviewed if self._by == "doubt" else _microseconds(row.created_at)
        return _RANKS[row.state] if self._by == "state" else 0, value, row.place

    def cursor(self, row: Row[Any]) -> str:
        """What names the place behind a row to a caller."""
        return ".".join([self.sort, *map(str, self.place_of(row))])

    def place_after(self, cursor: str) -> tuple[int, int, int]:
        """The inverse of :meth:`cursor`; raises ``UnknownDifferential`` where it is not one of this order."""
        found = _CURSOR.fullmatch(cursor)
        place = (0, 0, 0) if found is None else (int(found[2]), int(found[3]), int(found[4]))
        largest = place[1:] if self._by == "doubt" else place[2:]
        if found is None or found[1] != self.sort or max(largest) >= 2**31:  # beyond the database's integers
            raise UnknownDifferential("There is no page after this one: this is no cursor of this list.")
        return place

    async def page(
        self,
        connection: AsyncConnection,
        limit: int,
        after: str | None,
        search: SpecimenSearch,
        conditions: list[ColumnElement[bool]],
    ) -> list[Row[Any]]:
        """The first ``limit`` rows after a cursor, of those that ``conditions`` and the states of ``search``
        let in."""
        last = None if after is None else self.place_after(after)
        states = search.in_states
        if self._by == "state" and self._is_down:
            states = states[::-1]
        rows: list[Row[Any]] = []
        for state in states:
            if self._by == "state" and len(rows) >= limit:
                break
            if (of_state := self._of(state, last, search.is_of_few)) is not None:
                rows += await connection.execute(of_state.where(*conditions).limit(limit))
        rows.sort(key=self.place_of, reverse=self._is_down)
        return rows[:limit]

    def _of(
        self, state: SpecimenState, last: tuple[int, int, int] | None, is_of_few: bool
    ) -> Select[Any] | None:
        """The rows of one state in order, after a place; None where all are before it."""
        column: ColumnElement[Any] = SPECIMENS.c.unreviewed if self._by == "doubt" else self.created_at
        keys = (column, SPECIMENS.c.place)
        # Few are found by what names them: an expression of the state keeps the planner from its index.
        found = select(SPECIMENS).where((SPECIMENS.c.state + "" if is_of_few else SPECIMENS.c.state) == state)
        found = found.order_by(*(key.desc() if self._is_down else key for key in keys))
        if last is None:
            return found
        rank, value, place = last
        if self._by == "state" and _RANKS[state] != rank:
            return found if (_RANKS[state] < rank) == self._is_down else None
        here = tuple_(value if self._by == "doubt" else _time(value), place)
        return found.where(tuple_(*keys) < here if self._is_down else tuple_(*keys) > here)


def listed_differences(kept: Kept) -> Iterator[str]:
    """Where what a list counts, is sorted and filtered by does not follow from the results and decisions of a
    specimen, which the trail tells of, in words."""
    cells = {cell.cell_id: cell for cell in specimen_of(kept).cells}
    for row in kept.cells:
        cell = cells.get(row.cell_id)
        asks = cell is not None and replace(cell, decision=None).needs_review
        if row.needs_review != asks:
            yield f"cell {row.number}: whether a person should look at it is not what its result says"
    waiting = sum(cell.needs_review for cell in cells.values())
    if kept.row.unreviewed != waiting:
        yield f"{waiting} of its cells wait for a person, and the list says {kept.row.unreviewed}"


def _microseconds(created_at: str) -> int:
    return (datetime.fromisoformat(created_at) - _EPOCH) // _MICROSECOND


def _time(microseconds: int) -> str:
    return (_EPOCH + microseconds * _MICROSECOND).isoformat()
