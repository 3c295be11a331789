"""What every store does: a test module makes a class of ``StoreSuite`` and gives the fixture ``store``."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from orchestrator.domain import Box, ModelIdentity
from orchestrator.errors import (
    ChangedMeanwhile,
    CountedAlready,
    IdempotencyConflict,
    InvalidParameter,
    NotReady,
    SpecimenClosed,
    TooManyComments,
    UnknownCell,
    UnknownDifferential,
)
from orchestrator.specimen import (
    CellResult,
    FieldPlace,
    Specimen,
    SpecimenOrder,
    SpecimenSearch,
    SpecimenSort,
)
from orchestrator.store.base import EVERYTHING, CutOutCell, FoundCell, FoundField, Recorded, Store

ORDER = SpecimenOrder("S-2026-ğü/17", 6.2, "raabin", "adaptive")
RESULT = CellResult(
    class_name="Neutrophil",
    probabilities=(0.1, 0.1 + 1e-17, 0.2, 1 / 3, 0.26666666666666666),
    margin=0.05,
    energy=-3.1415926535897931,
    review_codes=("close_call",),
    focus_ratio=None,
    views=8,
    image_size=(360, 480),
    model=ModelIdentity("wbc", 4, "ab" * 32, "tf-serving"),
    profile="raabin",
    analysed_at=datetime(2026, 3, 2, 9, 41, 12, 345678, UTC),
    device_state="audited",
)

FIELDS = replace(ORDER, kind="field")
BOX = Box(1.5, 20.0, 31.25, 52.0)
DRAWN = CutOutCell(
    b"drawn",
    replace(RESULT, box=Box(100.0, 200.0, 150.0, 250.0)),
    FieldPlace(0, is_cut=False, is_clump=False, is_identified=True, added_by="anna"),
)


def found_field(*marks: bytes, is_identified: bool = True) -> FoundField:
    """A field with a cell for each mark, which is its image, too."""
    place = FieldPlace(0, is_cut=False, is_clump=False, is_identified=is_identified)
    return FoundField(
        (600, 800), 61.5, tuple(FoundCell(mark, replace(RESULT, box=BOX), place, mark) for mark in marks)
    )


def same_mark(marks: Sequence[bytes], known: Sequence[bytes]) -> list[int | None]:
    """Cells are the same where their marks are."""
    return [known.index(mark) if mark in known else None for mark in marks]


class StoreSuite:
    async def test_an_order_is_kept_as_it_was_given(self, store: Store) -> None:
        ordered, created = await store.create(ORDER, [b"one", b"two", b"one"], "nurse")

        assert created
        assert await store.get(ordered.differential_id) == ordered
        assert (ordered.order, ordered.state, ordered.created_by) == (ORDER, "waiting", "nurse")
        assert [cell.number for cell in ordered.cells] == [1, 2, 3]
        assert ordered.cells[0].image_sha256 == ordered.cells[2].image_sha256
        assert len({cell.cell_id for cell in ordered.cells}) == 3
        claimed = [await store.claim(ordered.differential_id, 60) for _ in range(2)]
        assert [cell.payload for cell in claimed if cell is not None] == [b"one", b"two"]

    async def test_a_result_comes_back_to_the_last_digit_and_counts_once(self, store: Store) -> None:
        ordered, _ = await store.create(ORDER, [b"one", b"two"], "nurse")
        first, second = (cell.cell_id for cell in ordered.cells)

        taken = await store.record_result(ordered.differential_id, first, RESULT)
        assert taken is Recorded.TAKEN
        assert not await store.record_result(ordered.differential_id, first, replace(RESULT, margin=0.9))
        assert not await store.record_failure(ordered.differential_id, first, "late")

        found = await store.get(ordered.differential_id)
        assert found.state == "running"
        assert found.cells[0].result == RESULT
        assert await store.unfinished() == [ordered.differential_id]
        assert await self.claimed(store, ordered.differential_id) == [(second, 0)]
        assert await store.unfinished() == []  # by anybody else
        taken = await store.record_failure(ordered.differential_id, second, "no image")
        assert taken is Recorded.LAST
        found = await store.get(ordered.differential_id)
        assert (found.state, found.cells[1].failure) == ("analysed", "no image")
        assert await store.unfinished() == []

    async def test_a_result_that_comes_twice_at_once_counts_once(self, store: Store) -> None:
        ordered, _ = await store.create(ORDER, [b"one"], "nurse")
        cell_id = ordered.cells[0].cell_id

        recorded = await asyncio.gather(
            *(store.record_result(ordered.differential_id, cell_id, RESULT) for _ in range(5))
        )

        assert sorted(recorded) == [Recorded.REFUSED] * 4 + [Recorded.LAST]

    async def test_the_cells_of_a_field_take_its_place_and_count_once_where_fields_overlap(
        self, store: Store
    ) -> None:
        ordered, _ = await store.create(FIELDS, [b"one", b"two"], "nurse")
        first, second = (cell.cell_id for cell in ordered.cells)
        told: list[list[bytes]] = []

        def same(marks: Sequence[bytes], known: Sequence[bytes]) -> list[int | None]:
            told.append(list(known))
            return same_mark(marks, known)

        taken = await store.record_field(
            ordered.differential_id, first, found_field(b"a", b"b", is_identified=False), same
        )
        assert taken is Recorded.TAKEN
        assert not await store.record_field(ordered.differential_id, first, found_field(b"late"), same)
        last = await store.record_field(ordered.differential_id, second, found_field(b"b", b"c"), same)
        assert last is Recorded.LAST

        specimen = await store.checked(ordered.differential_id)
        assert [known for known in told if known][-1] == [b"a", b"b"]
        assert specimen.order == FIELDS
        assert specimen.state == "analysed"
        assert [(field.number, field.cells) for field in specimen.fields] == [(1, 0), (2, 2)]
        assert [cell.number for cell in specimen.cells] == [3, 4, 5, 6]
        assert [cell.place.number for cell in specimen.cells if cell.place] == [1, 1, 2, 2]
        assert {cell.result.box for cell in specimen.cells if cell.result} == {BOX}
        double = specimen.cells[2]
        assert double.place is not None
        assert double.place.same_as == specimen.cells[1].cell_id
        assert double.label is None
        assert not double.needs_review
        assert [cell.needs_review for cell in specimen.cells] == [True, True, False, True]
        (summary,), _ = await store.page(10)
        assert (summary.cells, summary.waiting, summary.unreviewed) == (4, 0, 3)
        with pytest.raises(CountedAlready):
            await store.decide(ordered.differential_id, double.cell_id, "Monocyte", "anna")
        await store.decide(ordered.differential_id, specimen.cells[1].cell_id, "Monocyte", "anna")
        signed = await store.sign(ordered.differential_id, "anna")
        assert [cell.label for cell in signed.cells] == [None, "Monocyte", None, "Unidentified"]
        assert (await store.verify()).ok

    async def test_a_cell_that_a_person_drew_joins_its_field_with_the_next_number(self, store: Store) -> None:
        specimen = await self.field_of(store)
        differential_id, field = specimen.differential_id, specimen.fields[0]

        added = await store.add_cell(differential_id, field.field_id, DRAWN, "anna", [specimen.etag])

        assert added == await store.checked(differential_id)
        new = added.cells[-1]
        assert (new.number, new.state) == (specimen.cells[-1].number + 1, "analysed")
        assert new.place == replace(DRAWN.place, number=field.number)
        assert new.result == DRAWN.result
        assert added.fields == (replace(field, cells=field.cells + 1),)
        assert added.version > specimen.version
        entry = (await store.audit(differential_id))[-1]
        assert (entry.actor, entry.action, entry.cell_id) == ("anna", "added", new.cell_id)
        assert entry.details["class"] == DRAWN.result.class_name
        (summary,), _ = await store.page(10)
        assert (summary.cells, summary.unreviewed) == (2, 2)
        await store.decide(differential_id, new.cell_id, "Monocyte", "anna", [new.etag])
        signed = await store.sign(differential_id, "anna")
        assert signed.cells[-1].label == "Monocyte"
        assert (await store.verify()).ok

    async def test_no_cell_is_added_where_one_lies_nor_on_what_somebody_has_not_seen_nor_once_closed(
        self, store: Store
    ) -> None:
        specimen = await self.field_of(store)
        differential_id, field_id = specimen.differential_id, specimen.fields[0].field_id
        wider = Box(BOX.top - 1, BOX.left - 15, BOX.bottom + 15, BOX.right + 15)
        for there in (replace(BOX, right=BOX.right + 4), wider):
            again = replace(DRAWN, result=replace(RESULT, box=there))
            with pytest.raises(CountedAlready, match=f"Cell {specimen.cells[0].number} "):
                await store.add_cell(differential_id, field_id, again, "anna")
        whole = replace(DRAWN, result=replace(RESULT, box=Box(0.0, 0.0, 600.0, 800.0)))
        with pytest.raises(InvalidParameter, match="around one cell"):
            await store.add_cell(differential_id, field_id, whole, "anna")
        with pytest.raises(UnknownCell):
            await store.add_cell(differential_id, specimen.cells[0].cell_id, DRAWN, "anna")
        await store.assign(differential_id, "anna", "anna")
        with pytest.raises(ChangedMeanwhile):
            await store.add_cell(differential_id, field_id, DRAWN, "anna", [specimen.etag])
        signed = await store.sign(differential_id, "anna")
        with pytest.raises(SpecimenClosed):
            await store.add_cell(differential_id, field_id, DRAWN, "anna")
        assert (await store.get(differential_id)).cells == signed.cells

        waiting, _ = await store.create(FIELDS, [b"one"], "nurse")
        with pytest.raises(NotReady):
            await store.add_cell(waiting.differential_id, waiting.cells[0].cell_id, DRAWN, "anna")

    async def field_of(self, store: Store) -> Specimen:
        """A specimen of one field with one cell."""
        ordered, _ = await store.create(FIELDS, [b"one"], "nurse")
        field_id = ordered.cells[0].cell_id
        await store.record_field(ordered.differential_id, field_id, found_field(b"a"), same_mark)
        return await store.get(ordered.differential_id)

    async def test_a_field_without_cells_is_no_cell(self, store: Store) -> None:
        ordered, _ = await store.create(FIELDS, [b"one"], "nurse")

        last = await store.record_field(
            ordered.differential_id,
            ordered.cells[0].cell_id,
            found_field(),
            lambda marks, _: [None] * len(marks),
        )

        specimen = await store.checked(ordered.differential_id)
        assert last is Recorded.LAST
        assert (specimen.cells, len(specimen.fields), specimen.state) == ((), 1, "analysed")
        (summary,), _ = await store.page(10)
        assert summary.cells == 0

    async def test_the_same_order_under_the_same_key_is_one_order(self, store: Store) -> None:
        first, _ = await store.create(ORDER, [b"one"], "nurse", "key-1")

        again, created = await store.create(ORDER, [b"one"], "nurse", "key-1")
        other, is_new = await store.create(ORDER, [b"one"], "another nurse", "key-1")

        assert (again.differential_id, created) == (first.differential_id, False)
        assert is_new
        assert other.differential_id != first.differential_id
        for order, images in ((replace(ORDER, total_wbc=7.0), [b"one"]), (ORDER, [b"other"])):
            with pytest.raises(IdempotencyConflict):
                await store.create(order, images, "nurse", "key-1")

    async def test_one_key_used_many_times_at_once_makes_one_order(self, store: Store) -> None:
        made = await asyncio.gather(*(store.create(ORDER, [b"one"], "nurse", "key-2") for _ in range(6)))

        assert len({specimen.differential_id for specimen, _ in made}) == 1
        assert sum(created for _, created in made) == 1

    async def test_a_person_decides_and_takes_it_back(self, store: Store) -> None:
        specimen = await self.analysed(store)
        cell_id = specimen.cells[0].cell_id

        decided = await store.decide(specimen.differential_id, cell_id, "Atypical lymphocyte", "doctor")

        decision = decided.cells[0].decision
        assert decision is not None
        assert (decision.label, decision.person) == ("Atypical lymphocyte", "doctor")
        assert await store.get(specimen.differential_id) == decided
        undone = await store.undecide(specimen.differential_id, cell_id, "doctor")
        assert undone.cells[0].decision is None

    async def test_a_signature_closes_and_needs_all_cells(self, store: Store) -> None:
        ordered, _ = await store.create(ORDER, [b"one"], "nurse")
        with pytest.raises(NotReady):
            await store.sign(ordered.differential_id, "doctor")
        cell_id = ordered.cells[0].cell_id
        await store.record_result(ordered.differential_id, cell_id, RESULT)

        signed = await store.sign(ordered.differential_id, "doctor")

        assert signed.state == "signed"
        assert signed.signature is not None
        assert signed.signature.person == "doctor"
        for change in (
            store.decide(ordered.differential_id, cell_id, "Monocyte", "doctor"),
            store.undecide(ordered.differential_id, cell_id, "doctor"),
            store.sign(ordered.differential_id, "doctor"),
            store.cancel(ordered.differential_id, "doctor"),
        ):
            with pytest.raises(SpecimenClosed):
                await change
        assert await store.get(ordered.differential_id) == signed

    async def test_a_cell_is_leased_to_one_who_asks_and_to_no_other_until_the_lease_ends(
        self, store: Store
    ) -> None:
        ordered, _ = await store.create(ORDER, [b"one", b"two", b"three"], "nurse")
        first, second, third = (cell.cell_id for cell in ordered.cells)
        trail = await store.audit()

        claimed = await asyncio.gather(*(store.claim(ordered.differential_id, 60) for _ in range(3)))

        assert {cell.cell_id for cell in claimed if cell is not None} == {first, second, third}
        assert await store.claim(ordered.differential_id, 60) is None
        assert await store.audit() == trail  # it says nothing about the specimen
        with pytest.raises(UnknownDifferential):
            await store.claim("none", 60)

    async def test_attempts_that_were_not_withdrawn_count_and_cells_with_the_fewest_come_first(
        self, store: Store
    ) -> None:
        ordered, _ = await store.create(ORDER, [b"one", b"two", b"three"], "nurse")
        first, second, third = (cell.cell_id for cell in ordered.cells)
        killed = await store.claim(ordered.differential_id, 0.0)
        alive = await store.claim(ordered.differential_id, 60)
        assert killed is not None
        assert alive is not None
        assert (killed.cell_id, alive.cell_id) == (first, second)
        await store.withdraw(alive.cell_id, alive.token)

        assert await self.claimed(store, ordered.differential_id) == [(second, 0), (third, 0), (first, 1)]

    async def test_a_lease_is_renewed_until_somebody_else_has_the_cell(self, store: Store) -> None:
        ordered, _ = await store.create(ORDER, [b"one"], "nurse")
        late = await store.claim(ordered.differential_id, 0.0)
        assert late is not None
        assert await store.renew(late.cell_id, late.token, 60)
        assert await store.claim(ordered.differential_id, 60) is None
        assert await store.renew(late.cell_id, late.token, 0.0)

        other = await store.claim(ordered.differential_id, 60)

        assert other is not None
        assert other.token > late.token
        assert not await store.renew(late.cell_id, late.token, 60)

    async def test_what_comes_after_a_lease_was_given_to_another_is_refused(self, store: Store) -> None:
        ordered, _ = await store.create(ORDER, [b"one"], "nurse")
        late = await store.claim(ordered.differential_id, 0.0)
        other = await store.claim(ordered.differential_id, 60)
        assert late is not None
        assert other is not None
        of = (ordered.differential_id, late.cell_id)

        assert not await store.record_result(*of, RESULT, late.token)
        assert not await store.record_failure(*of, "no image", late.token)
        await store.withdraw(late.cell_id, late.token)
        assert await store.claim(ordered.differential_id, 60) is None
        assert await store.record_result(*of, RESULT, other.token)
        assert not await store.renew(other.cell_id, other.token, 60)

    async def test_what_is_cancelled_is_analysed_no_more(self, store: Store) -> None:
        ordered, _ = await store.create(ORDER, [b"one", b"two"], "nurse")
        held = await store.claim(ordered.differential_id, 60)
        assert held is not None

        assert (await store.cancel(ordered.differential_id, "nurse")).state == "cancelled"

        assert await store.claim(ordered.differential_id, 60) is None
        assert await store.unfinished() == []
        assert not await store.renew(held.cell_id, held.token, 60)
        assert not await store.record_result(ordered.differential_id, ordered.cells[0].cell_id, RESULT)

    async def test_pages_go_from_the_newest_to_the_first(self, store: Store) -> None:
        made = [(await store.create(ORDER, [b"one"], "nurse"))[0].differential_id for _ in range(5)]

        first, cursor = await store.page(2)
        second, further = await store.page(2, cursor)
        third, end = await store.page(2, further)

        assert [one.differential_id for one in (*first, *second, *third)] == made[::-1]
        assert end is None

    async def test_a_page_counts_the_cells_of_each_specimen(self, store: Store) -> None:
        ordered, _ = await store.create(
            ORDER, [b"one", b"two", b"three", b"four"], "nurse", None, {4: "none"}
        )
        of, cells = ordered.differential_id, [cell.cell_id for cell in ordered.cells]
        for cell_id in cells[:2]:
            await store.record_result(of, cell_id, RESULT)
        await store.decide(of, cells[0], "Monocyte", "doctor")

        (summary,), _ = await store.page(9)

        assert (summary.differential_id, summary.specimen_id) == (of, ORDER.specimen_id)
        assert (summary.state, summary.created_at) == ("running", ordered.created_at)
        counted = (summary.cells, summary.waiting, summary.failed, summary.unreviewed)
        assert (counted, summary.signature) == ((4, 1, 1, 1), None)

    async def test_a_page_has_what_is_looked_for(self, store: Store) -> None:
        made = [
            (await store.create(replace(ORDER, specimen_id=name), [b"one"], "nurse"))[0]
            for name in ("S-1", "S-2", "S-1", "s-1")
        ]
        ids = [one.differential_id for one in made]
        await store.cancel(ids[0], "nurse")

        async def found(**search: Any) -> list[str]:
            return [one.differential_id for one in (await store.page(9, None, SpecimenSearch(**search)))[0]]

        assert await found(specimen_id="S-1") == [ids[2], ids[0]]
        assert await found(states=("cancelled", "signed")) == [ids[0]]
        assert await found(specimen_id="S-1", states=("waiting",)) == [ids[2]]
        assert await found(created_from=made[1].created_at, created_before=made[3].created_at) == [
            ids[2],
            ids[1],
        ]
        first, cursor = await store.page(1, None, SpecimenSearch("S-1"))
        assert [one.differential_id for one in first] == [ids[2]]
        assert cursor is not None
        second, end = await store.page(1, cursor, SpecimenSearch("S-1"))
        assert ([one.differential_id for one in second], end) == ([ids[0]], None)

    async def test_a_list_is_sorted_by_age_doubt_and_state_both_ways(self, store: Store) -> None:
        ids = [await self.reviewed(store, waits) for waits in (1, 3, 0, 3)]
        await store.sign(ids[0], "doctor")
        running, _ = await store.create(ORDER, [b"one"], "nurse")
        ids.append(running.differential_id)

        async def sorted_by(sort: SpecimenSort) -> list[int]:
            """Over pages of two."""
            found: list[int] = []
            cursor: str | None = None
            while not found or cursor is not None:
                page, cursor = await store.page(2, cursor, EVERYTHING, sort)
                found += [ids.index(one.differential_id) for one in page]
            return found

        assert await sorted_by("created") == [0, 1, 2, 3, 4]
        assert await sorted_by("-created") == [4, 3, 2, 1, 0]
        assert await sorted_by("doubt") == [2, 4, 0, 1, 3]
        assert await sorted_by("-doubt") == [3, 1, 0, 4, 2]
        assert await sorted_by("state") == [1, 2, 3, 4, 0]
        assert await sorted_by("-state") == [0, 4, 3, 2, 1]

    @pytest.mark.parametrize("sort", get_args(SpecimenSort))
    async def test_a_cursor_holds_while_specimens_come_change_and_close(
        self, store: Store, sort: SpecimenSort
    ) -> None:
        there = [await self.reviewed(store, waits) for waits in (2, 1, 3, 2, 1, 2)]
        first, cursor = await store.page(3, None, EVERYTHING, sort)
        seen = [one.differential_id for one in first]
        last = await store.get(seen[-1])
        came = await self.reviewed(store, 2)
        await store.decide(last.differential_id, last.cells[0].cell_id, "Monocyte", "doctor")
        await store.sign(last.differential_id, "doctor")

        while cursor is not None:
            page, cursor = await store.page(2, cursor, EVERYTHING, sort)
            seen += [one.differential_id for one in page]

        told = [one for one in seen if one not in (last.differential_id, came)]
        assert sorted(told) == sorted(one for one in there if one != last.differential_id)

    async def test_a_cursor_of_another_order_is_none(self, store: Store) -> None:
        for waits in (1, 1):
            await self.reviewed(store, waits)
        _, cursor = await store.page(1)

        with pytest.raises(UnknownDifferential):
            await store.page(1, cursor, EVERYTHING, "doubt")

    async def test_a_worklist_has_what_waits_what_is_taken_and_what_is_typed(self, store: Store) -> None:
        waits, done, signed, late = [await self.reviewed(store, count) for count in (2, 0, 1, 1)]
        await store.sign(signed, "doctor")
        await store.assign(waits, "anna", "anna")
        await store.assign(late, "bob", "anna")
        named, _ = await store.create(replace(ORDER, specimen_id="S-9"), [b"one"], "nurse")

        async def found(**search: Any) -> list[str]:
            return [one.differential_id for one in (await store.page(9, None, SpecimenSearch(**search)))[0]]

        assert await found(needs_review=True) == [late, waits]
        assert await found(needs_review=True, states=("signed",)) == []
        assert await found(assignee="anna") == [waits]
        assert await found(assignee="bob", needs_review=True) == [late]
        assert await found(assignee="") == [named.differential_id, signed, done]
        assert await found(text="S-9") == [named.differential_id]
        assert await found(text="s-9") == []
        assert await found(text=done[:12].upper()) == [done]
        assert await found(text=done) == [done]
        assert await found(text=done[:3]) == []
        assert await found(text="S-9", assignee="anna") == []

    async def test_a_specimen_is_taken_handed_over_and_given_back_and_the_trail_says_so(
        self, store: Store
    ) -> None:
        specimen = await self.analysed(store)
        of, before = specimen.differential_id, len(await store.audit(specimen.differential_id))

        taken = await store.assign(of, "anna", "anna", None)
        assert (taken.assignee, taken.etag != specimen.etag) == ("anna", True)
        assert await store.assign(of, "anna", "anna", "anna") == taken
        assert (await store.assign(of, "bob", "anna", "anna")).assignee == "bob"
        (summary,), _ = await store.page(1)
        assert summary.assignee == "bob"
        assert (await store.assign(of, None, "bob")).assignee is None

        trail = (await store.audit(of))[before:]
        assert [(e.actor, e.action, e.details.get("assignee")) for e in trail] == [
            ("anna", "assigned", "anna"),
            ("anna", "assigned", "bob"),
            ("bob", "given_back", None),
        ]
        assert (await store.verify()).ok

    async def test_what_somebody_else_took_or_gave_back_meanwhile_is_refused_by_name(
        self, store: Store
    ) -> None:
        of = (await self.analysed(store)).differential_id
        await store.assign(of, "anna", "anna", None)

        with pytest.raises(ChangedMeanwhile, match="taken by anna"):
            await store.assign(of, "bob", "bob", None)
        with pytest.raises(ChangedMeanwhile, match="taken by anna"):
            await store.assign(of, None, "carl", "carl")
        assert (await store.get(of)).assignee == "anna"
        await store.assign(of, None, "anna")
        with pytest.raises(ChangedMeanwhile, match="given back"):
            await store.assign(of, "bob", "bob", "anna")

    async def test_of_those_who_take_a_specimen_at_once_one_has_it(self, store: Store) -> None:
        of = (await self.analysed(store)).differential_id

        taken = await asyncio.gather(
            *(store.assign(of, person, person, None) for person in ("anna", "bob", "carl")),
            return_exceptions=True,
        )

        assert sum(isinstance(one, ChangedMeanwhile) for one in taken) == 2

    async def test_what_is_taken_can_be_decided_and_signed_by_others_and_what_is_closed_not_taken(
        self, store: Store
    ) -> None:
        specimen = await self.analysed(store)
        of = specimen.differential_id
        await store.assign(of, "anna", "anna")

        await store.decide(of, specimen.cells[0].cell_id, "Monocyte", "bob")
        signed = await store.sign(of, "bob")

        assert (signed.state, signed.assignee) == ("signed", "anna")
        with pytest.raises(SpecimenClosed):
            await store.assign(of, "bob", "bob")

    async def test_comments_on_a_cell_and_a_specimen_come_back_in_order_and_stand_in_the_trail(
        self, store: Store
    ) -> None:
        specimen = await self.analysed(store)
        of, cell = specimen.differential_id, specimen.cells[0]
        before = len(await store.audit(of))

        first = await store.comment(of, "Smudged,\nlike most.", "anna", cell.cell_id, {cell.etag})
        both = await store.comment(of, "Kalın yayma: ğ", "bob", None, {first.etag})

        assert [(c.number, c.cell_id, c.person, c.text, c.is_addendum) for c in both.comments] == [
            (1, cell.cell_id, "anna", "Smudged,\nlike most.", False),
            (2, None, "bob", "Kalın yayma: ğ", False),
        ]
        assert await store.checked(of) == both
        assert both.cells == specimen.cells
        assert len({specimen.etag, first.etag, both.etag}) == 3
        trail = (await store.audit(of))[before:]
        assert [(e.actor, e.action, e.cell_id, e.details["number"]) for e in trail] == [
            ("anna", "commented", cell.cell_id, "1"),
            ("bob", "commented", None, "2"),
        ]
        assert not any("Smudged" in str(entry) for entry in trail)
        with pytest.raises(ChangedMeanwhile):
            await store.comment(of, "late", "bob", None, {first.etag})

    async def test_what_is_signed_takes_addenda_and_nothing_of_it_changes(self, store: Store) -> None:
        specimen = await self.analysed(store)
        of = specimen.differential_id
        with pytest.raises(NotReady):
            await store.add(of, "too early", "anna")
        signed = await store.sign(of, "anna")

        with pytest.raises(SpecimenClosed):
            await store.comment(of, "too late", "anna")
        added = await store.add(of, "Told by telephone.", "bob", {signed.etag})

        assert [(c.person, c.text, c.cell_id, c.is_addendum) for c in added.comments] == [
            ("bob", "Told by telephone.", None, True)
        ]
        assert replace(added, comments=(), version=signed.version) == signed
        assert added.etag != signed.etag
        assert (await store.audit(of))[-1].action == "addendum"
        assert await store.checked(of) == added
        assert (await store.verify()).ok
        with pytest.raises(ChangedMeanwhile):
            await store.add(of, "late", "bob", {signed.etag})

    async def test_what_is_cancelled_takes_neither_comments_nor_addenda(self, store: Store) -> None:
        of = (await self.analysed(store)).differential_id
        await store.cancel(of, "anna")

        with pytest.raises(SpecimenClosed):
            await store.comment(of, "late", "anna")
        with pytest.raises(SpecimenClosed):
            await store.add(of, "late", "anna")

    async def test_a_comment_is_on_a_cell_that_was_analysed_and_on_no_field(self, store: Store) -> None:
        ordered, _ = await store.create(FIELDS, [b"one", b"two"], "nurse")
        of, (field, waits) = ordered.differential_id, (cell.cell_id for cell in ordered.cells)
        await store.record_field(of, field, found_field(b"a"), same_mark)

        with pytest.raises(UnknownCell):
            await store.comment(of, "a field", "anna", field)
        with pytest.raises(NotReady):
            await store.comment(of, "waits", "anna", waits)
        with pytest.raises(UnknownCell):
            await store.comment(of, "nowhere", "anna", "f" * 32)
        assert (await store.comment(of, "so far", "anna")).comments[0].cell_id is None

    async def test_a_specimen_takes_so_many_comments_and_addenda_after_them(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.modules[type(store).__module__], "MAX_COMMENTS", 2)
        of = (await self.analysed(store)).differential_id
        for text in ("one", "two"):
            await store.comment(of, text, "anna")

        with pytest.raises(TooManyComments):
            await store.comment(of, "three", "anna")
        await store.sign(of, "anna")
        for text in ("one", "two"):
            await store.add(of, text, "anna")
        with pytest.raises(TooManyComments):
            await store.add(of, "three", "anna")
        assert [c.number for c in (await store.get(of)).comments] == [1, 2, 3, 4]

    async def test_what_cannot_be_analysed_is_a_failed_cell_from_the_beginning(self, store: Store) -> None:
        ordered, _ = await store.create(ORDER, [b"one", b"two"], "nurse", None, {1: "no image"})

        assert [(cell.state, cell.failure) for cell in ordered.cells] == [
            ("failed", "no image"),
            ("waiting", None),
        ]
        assert ordered.state == "waiting"
        trail = await store.audit(ordered.differential_id)
        assert [(entry.action, entry.cell_id) for entry in trail] == [
            ("ordered", None),
            ("failed", ordered.cells[0].cell_id),
        ]
        assert (await store.verify()).ok
        none, _ = await store.create(ORDER, [b"one"], "nurse", None, {1: "no image"})
        assert none.state == "analysed"

    async def test_a_decision_about_what_was_changed_meanwhile_is_refused(self, store: Store) -> None:
        seen = await self.analysed(store)
        of, cell = seen.differential_id, seen.cells[0]
        decided = await store.decide(of, cell.cell_id, "Monocyte", "doctor", [seen.etag])

        for stale in (seen.etag, cell.etag, "nothing", ""):
            with pytest.raises(ChangedMeanwhile):
                await store.decide(of, cell.cell_id, "Basophil", "late doctor", [stale])
            with pytest.raises(ChangedMeanwhile):
                await store.undecide(of, cell.cell_id, "late doctor", [stale])
            with pytest.raises(ChangedMeanwhile):
                await store.sign(of, "late doctor", [stale])

        assert await store.get(of) == decided
        undone = await store.undecide(of, cell.cell_id, "doctor", [cell.etag, decided.cells[0].etag])
        with pytest.raises(ChangedMeanwhile):  # of a cell's state alone no signature can be
            await store.sign(of, "doctor", [undone.cells[0].etag])
        assert (await store.sign(of, "doctor", [undone.etag])).state == "signed"
        with pytest.raises(SpecimenClosed):  # which a right state would not change
            await store.decide(of, cell.cell_id, "Basophil", "late doctor", [seen.etag])

    async def test_two_people_decide_about_two_cells_and_of_one_cell_only_the_first(
        self, store: Store
    ) -> None:
        ordered, _ = await store.create(ORDER, [b"one", b"two"], "nurse")
        for cell in ordered.cells:
            await store.record_result(ordered.differential_id, cell.cell_id, RESULT)
        seen = await store.get(ordered.differential_id)

        decided = await asyncio.gather(
            *(
                store.decide(seen.differential_id, cell.cell_id, label, label, [cell.etag])
                for cell in seen.cells
                for label in ("Monocyte", "Basophil")
            ),
            return_exceptions=True,
        )

        assert sum(isinstance(one, ChangedMeanwhile) for one in decided) == 2
        assert all(cell.decision is not None for cell in (await store.get(seen.differential_id)).cells)

    async def test_what_there_is_not_is_said(self, store: Store) -> None:
        specimen = await self.analysed(store)
        with pytest.raises(UnknownDifferential):
            await store.get("0" * 32)
        with pytest.raises(UnknownDifferential):
            await store.record_result("0" * 32, "1" * 32, RESULT)
        with pytest.raises(UnknownCell):
            await store.decide(specimen.differential_id, "1" * 32, "Monocyte", "doctor")
        with pytest.raises(UnknownCell):
            await store.image(specimen.differential_id, "1" * 32)

    @pytest.mark.parametrize("none", ["\0", "a\0b", "\ud800", "x" * 10_000, "", "%00"])
    async def test_what_cannot_be_an_id_is_the_id_of_nothing(self, store: Store, none: str) -> None:
        specimen = await self.analysed(store)
        for unknown in (
            store.get(none),
            store.checked(none),
            store.decide(none, specimen.cells[0].cell_id, "Monocyte", "doctor"),
            store.sign(none, "doctor"),
            store.cancel(none, "doctor"),
            store.image(none, specimen.cells[0].cell_id),
            store.page(5, none),
        ):
            with pytest.raises(UnknownDifferential):
                await unknown
        for unknown in (
            store.undecide(specimen.differential_id, none, "doctor"),
            store.image(specimen.differential_id, none),
        ):
            with pytest.raises(UnknownCell):
                await unknown
        assert await store.audit(none) == []

    async def test_every_change_stands_in_the_trail_of_its_specimen(self, store: Store) -> None:
        specimen = await self.analysed(store)
        cell_id = specimen.cells[0].cell_id
        await store.decide(specimen.differential_id, cell_id, "Monocyte", "doctor")
        await store.undecide(specimen.differential_id, cell_id, "doctor")
        await store.sign(specimen.differential_id, "doctor")
        details = {"said": "right"}
        await store.note(specimen.differential_id, cell_id, "doctor", "audit_sample", details)
        with pytest.raises(UnknownCell):
            await store.note(specimen.differential_id, "none", "doctor", "audit_sample", {})
        await self.analysed(store)

        trail = await store.audit(specimen.differential_id)

        said = [(entry.actor, entry.action) for entry in trail if entry.actor != "service"]
        assert said == [
            ("nurse", "ordered"),
            ("doctor", "decided"),
            ("doctor", "undecided"),
            ("doctor", "signed"),
            ("doctor", "audit_sample"),
        ]
        assert (trail[-1].cell_id, trail[-1].details) == (cell_id, details)
        whole = await store.audit()
        assert [entry.sequence for entry in whole] == list(range(1, len(whole) + 1))
        verdict = await store.verify()
        assert (verdict.ok, verdict.rows) == (True, len(whole))

    @staticmethod
    async def analysed(store: Store):
        ordered, _ = await store.create(ORDER, [b"one"], "nurse")
        await store.record_result(ordered.differential_id, ordered.cells[0].cell_id, RESULT)
        return await store.get(ordered.differential_id)

    @staticmethod
    async def reviewed(store: Store, waits: int) -> str:
        """A specimen that is analysed, of whose cells so many wait for a person, and one does not."""
        ordered, _ = await store.create(ORDER, [b"one"] * (waits + 1), "nurse")
        for cell in ordered.cells:
            await store.record_result(ordered.differential_id, cell.cell_id, RESULT)
        await store.decide(ordered.differential_id, ordered.cells[-1].cell_id, "Monocyte", "doctor")
        return ordered.differential_id

    @staticmethod
    async def claimed(store: Store, differential_id: str) -> list[tuple[str, int]]:
        """All cells that can be claimed, with their attempts."""
        found: list[tuple[str, int]] = []
        while (cell := await store.claim(differential_id, 60)) is not None:
            found.append((cell.cell_id, cell.attempts))
        return found
