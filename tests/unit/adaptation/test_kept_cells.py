"""The cells that a head was learnt from: kept encrypted, read by every key of the store, and as they were."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.adaptation.cells import LabelledCell, LabelledImage, SeenCell
from orchestrator.adaptation.kept_cells import KeptCells, packed, unpacked
from orchestrator.adaptation.service import Adaptations
from orchestrator.bootstrap.services import build_services
from orchestrator.errors import AdaptationRefused, ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.settings import ImageSettings, Settings
from orchestrator.site_head.head_file import write_head
from orchestrator.site_head.registry import TRAIL, HeadRegistry
from orchestrator.store.encryption import Cipher, new_key
from tests.fakes.model_server import FEATURES, IDENTITY, FakeModelServer
from tests.synthetic_cells import cell_file

OLD, NEW = new_key(), new_key()
PROFILE = "painted"
CAMERA = "the camera's own specimen"


def images(specimen: str, seeds: range) -> list[LabelledImage]:
    found = []
    for index, name in enumerate(CLASS_NAMES):
        for seed in seeds:

            async def read(name: str = name, seed: int = seed) -> bytes:
                return cell_file(name, seed=seed, size=220)

            found.append(LabelledImage(read, index, specimen, f"{specimen} {name} {seed}"))
    return found


class Site:
    """A folder of heads, and its use cases with other keys at each call."""

    def __init__(self, folder):
        self.folder = folder
        self.registry = HeadRegistry(folder)
        settings = Settings(images=ImageSettings(processes=0))
        self.services = build_services(settings, model_server=FakeModelServer())

    def kept(self, *keys):
        return KeptCells(self.folder, self.registry, Cipher(keys)) if keys else None

    def adaptations(self, *keys):
        return Adaptations(self.services, self.registry, kept=self.kept(*keys))


@pytest.fixture
async def site(tmp_path):
    site = Site(tmp_path)
    async with site.services.running():
        yield site


FIRST, MORE = images(CAMERA, range(1, 6)), images("S-2", range(11, 15))


async def learnt_first(site, *keys):
    return (await site.adaptations(*keys).learn(PROFILE, "anna", FIRST)).head


async def test_what_is_kept_is_features_labels_and_specimens_and_lies_there_encrypted(site):
    head = await learnt_first(site, OLD)

    file = site.folder / f"{head.name}.cells"
    token = file.read_bytes()
    cells = site.kept(OLD).of(head)
    assert file.stat().st_mode & 0o777 == 0o600
    assert token.startswith(b"gAAAAA")
    assert CAMERA.encode() not in b"".join(path.read_bytes() for path in site.folder.iterdir())
    for image, cell in zip(FIRST, cells, strict=True):
        payload = await image.read()
        assert cell.seen.image_sha256 == hashlib.sha256(payload).hexdigest()
        assert (cell.class_index, cell.group) == (image.class_index, CAMERA)
        assert cell.seen.features.shape == (8, FEATURES)
        assert payload not in packed(cells)


async def test_a_head_of_kept_and_new_cells_is_that_of_all_their_images_bit_for_bit(site):
    await learnt_first(site, OLD)

    from_kept = await site.adaptations(OLD).learn(PROFILE, "anna", MORE, cells_of=1)
    from_images = await site.adaptations(OLD).learn(PROFILE, "anna", [*FIRST, *MORE])

    assert from_kept.head.delta.tobytes() == from_images.head.delta.tobytes()
    assert from_kept.head.summary == from_images.head.summary
    assert from_kept.head.summary["counts"] == [9] * 5
    assert from_kept.trust.left_out == from_images.trust.left_out
    kept = site.kept(OLD)
    assert len(kept.of(from_kept.head)) == len(FIRST) + len(MORE)  # for the one after it
    assert {cell.seen.image_sha256 for cell in kept.of(from_kept.head)} == {
        cell.seen.image_sha256 for cell in kept.of(from_images.head)
    }


async def test_of_an_image_that_is_given_again_what_is_said_now_counts(site):
    await learnt_first(site, OLD)
    other = replace(FIRST[0], class_index=4)

    head = (await site.adaptations(OLD).learn(PROFILE, "anna", [other, *MORE], cells_of=1)).head

    assert head.summary["counts"] == [8, 9, 9, 9, 10]


async def test_a_key_that_is_replaced_reads_on_and_the_new_one_writes(site):
    head = await learnt_first(site, OLD)

    both = await site.adaptations(NEW, OLD).learn(PROFILE, "anna", MORE, cells_of=1)

    assert len(site.kept(NEW).of(both.head)) == len(FIRST) + len(MORE)
    for keys in ((NEW,), (OLD,)):
        with pytest.raises(ConfigurationError, match="by another key"):
            site.kept(*keys).of(head if keys == (NEW,) else both.head)
    with pytest.raises(AdaptationRefused, match="by another key"):
        await site.adaptations(NEW).learn(PROFILE, "anna", MORE, cells_of=1)


async def test_without_a_key_nothing_is_kept_and_it_is_said_what_to_do(site):
    head = await learnt_first(site)

    assert sorted(path.name for path in site.folder.iterdir() if not path.name.startswith(".")) == [
        TRAIL, f"{head.name}.head"
    ]  # fmt: skip
    assert (await site.adaptations().heads(PROFILE)).cells_kept == frozenset()
    with pytest.raises(AdaptationRefused, match="WBC_STORE__ENCRYPTION_KEY alone: set it"):
        await site.adaptations().learn(PROFILE, "anna", MORE, cells_of=1)
    with pytest.raises(AdaptationRefused, match="were not kept, as no WBC_STORE__ENCRYPTION_KEY"):
        await site.adaptations(OLD).learn(PROFILE, "anna", MORE, cells_of=1)
    assert await site.adaptations(OLD).verify(PROFILE) == ()


async def test_cells_of_another_model_or_of_images_prepared_otherwise_are_not_learnt_from(site):
    head = await learnt_first(site, OLD)
    kept = site.kept(OLD)
    cells = kept.of(head)
    for changes in ({"model": replace(IDENTITY, version=2)}, {"recipe_sha256": "ab" * 32}):
        other = site.registry.add(
            replace(head, **changes), "anna", keep_cells=lambda one: kept.keep(cells, one)
        )
        with pytest.raises(AdaptationRefused, match="learn it anew from the same labels"):
            await site.adaptations(OLD).learn(PROFILE, "anna", MORE, cells_of=other.number)


async def test_what_was_changed_exchanged_or_removed_is_found_and_not_learnt_from(site):
    first = await learnt_first(site, OLD)
    second = (await site.adaptations(OLD).learn(PROFILE, "anna", MORE, cells_of=1)).head
    adaptations = site.adaptations(OLD)
    assert await adaptations.verify(PROFILE) == ()
    paths = [site.folder / f"{head.name}.cells" for head in (first, second)]
    as_they_were = [path.read_bytes() for path in paths]

    for change, why in (
        (lambda: paths[0].write_bytes(as_they_were[0][:-8] + b"AAAAAAA="), "by another key"),
        (lambda: paths[0].write_bytes(as_they_were[1]), "is not what was kept when painted.1 was learnt"),
        (
            lambda: paths[0].write_bytes(Cipher([OLD]).encrypted(packed(site.kept(OLD).of(second)))),
            "is not what was kept when painted.1 was learnt",
        ),
        (lambda: paths[0].write_bytes(b"features in the open"), "by another key"),
        (paths[0].unlink, "cannot be read"),
    ):
        change()
        (found,) = await adaptations.verify(PROFILE)
        assert found.startswith("painted.1.cells: ")
        assert why in found
        with pytest.raises(AdaptationRefused, match=r"painted\.1\.cells"):
            await adaptations.learn(PROFILE, "anna", MORE, cells_of=1)
    lines = [json.loads(line) for line in (site.folder / TRAIL).read_text().splitlines()]
    lines[0]["cells_sha256"] = lines[1]["cells_sha256"]
    (site.folder / TRAIL).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert await adaptations.verify(PROFILE) == ("heads.jsonl: line 1 is not as it was written",)


async def test_a_head_that_was_exchanged_or_removed_or_is_not_of_the_trail_is_found(site):
    first = await learnt_first(site)
    second = site.registry.add(replace(first, temperature=2 * first.temperature), "anna")
    adaptations = site.adaptations()
    assert await adaptations.verify(PROFILE) == ()

    paths = [site.folder / f"{head.name}.head" for head in (first, second)]
    write_head(paths[0], replace(second, name=first.name))
    paths[1].rename(site.folder / "elsewhere")
    write_head(site.folder / "painted.3.head", replace(second, name="painted.3"))

    assert set(await adaptations.verify(PROFILE)) == {
        "painted.1.head: is not the head of the trail",
        "painted.2.head: is not there",
        "painted.3.head: is not the head of the trail",
    }


async def test_a_head_whose_cells_cannot_be_kept_is_not_kept_either(site):
    (site.folder / "painted.1.cells").mkdir()

    with pytest.raises(AdaptationRefused, match=r"painted\.1\.cells: cannot be written"):
        await learnt_first(site, OLD)

    assert site.registry.numbers(PROFILE) == []
    assert site.registry.trail() == ()


async def test_a_document_that_holds_no_cells_of_the_model_is_refused(site):
    head = await learnt_first(site, OLD)
    seen = SeenCell(np.zeros((8, FEATURES + 1), np.float32), np.zeros((8, 5), np.float32), "0" * 64, IDENTITY)

    for data, why in (
        (b"", "no labelled cells"),
        (b"\x80\x04\x95", "no labelled cells"),
        (packed([LabelledCell(seen, 0, "S-1", "1")]), "of another model"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            unpacked(data, head)
