"""What of signed differentials teaches."""

from dataclasses import replace

import pytest

from orchestrator.adaptation.cells import signed_images
from orchestrator.errors import UnsupportedImage
from orchestrator.model_contract import CLASS_NAMES
from tests.contract.store_suite import FIELDS, RESULT, found_field, same_mark
from tests.fakes.memory_store import MemoryStore


async def test_cells_of_fields_do_not_teach_and_it_is_said_how_many():
    store = MemoryStore()
    ordered, _ = await store.create(replace(FIELDS, kind="auto"), [b"cell", b"field"], "nurse")
    alone, field = (cell.cell_id for cell in ordered.cells)
    await store.record_result(ordered.differential_id, alone, RESULT)
    await store.record_field(ordered.differential_id, field, found_field(b"a", b"b", b"c"), same_mark)
    cells = (await store.get(ordered.differential_id)).cells
    for cell, label in zip(cells, ("Monocyte", "Monocyte", "Basophil", "Unidentified"), strict=True):
        await store.decide(ordered.differential_id, cell.cell_id, label, "anna")
    await store.sign(ordered.differential_id, "anna")

    taught, left_out = await signed_images([ordered.differential_id], store)

    assert (await taught.read(), taught.class_index) == (b"cell", CLASS_NAMES.index("Monocyte"))
    with pytest.raises(UnsupportedImage, match="left out: 2"):
        await left_out.read()


async def test_bands_and_segmented_cells_teach_neutrophils_and_other_words_teach_nothing():
    store = MemoryStore()
    ordered, _ = await store.create(replace(FIELDS, kind="cell"), [b"one", b"two", b"three"], "nurse")
    for cell, label in zip(ordered.cells, ("Segmented", "Blast", "Band"), strict=True):
        await store.record_result(ordered.differential_id, cell.cell_id, RESULT)
        await store.decide(ordered.differential_id, cell.cell_id, label, "anna")
    await store.sign(ordered.differential_id, "anna")

    taught = await signed_images([ordered.differential_id], store)

    assert [await one.read() for one in taught] == [b"one", b"three"]
    assert {one.class_index for one in taught} == {CLASS_NAMES.index("Neutrophil")}
