"""A site's head as the canary of a profile: what it answers, what holds of that, and what is counted."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.analyse import AnalysisOptions, NoHeads, Services, analyse
from orchestrator.analyse_field import FieldOptions, analyse_field
from orchestrator.device_audits.audit import AuditedModel
from orchestrator.device_audits.registry import AuditRegistry
from orchestrator.domain import DEVICE_UNKNOWN, Analysis, ModelIdentity
from orchestrator.model_contract import NUM_CLASSES
from orchestrator.painting.fields import paint_field
from orchestrator.painting.looks import scanner
from orchestrator.profiles import load_profiles
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.site_head.head_file import SiteHead, made
from orchestrator.site_head.registry import Canary
from orchestrator.specimen import SpecimenOrder
from orchestrator.specimens.runner import cell_options
from orchestrator.vision.decode import DecodeLimits
from tests.audited_cells import NOW, PRECISION, audit_of, eosinophils, plan_of
from tests.fakes.model_server import FEATURES, IDENTITY, FakeModelServer
from tests.synthetic_cells import cell_file, image_file

PROFILE = load_profiles()["motic-tecom"]
EOSINOPHIL, MONOCYTE = 1, 3


def head_of(number: int, says: int, **changes: object) -> SiteHead:
    """One that is sure of this class (of ``CLASS_NAMES``), whatever it sees."""
    delta = np.zeros((FEATURES + 1, NUM_CLASSES), np.float32)
    delta[-1, says] = 100.0
    fields: dict[str, object] = {
        "name": f"{PROFILE.name}.{number}",
        "model": IDENTITY,
        "recipe_sha256": PROFILE.recipe_sha256,
        "delta": delta,
        "temperature": 1.0,
        "review_threshold": 0.7,
        "max_energy": 0.0,
        "features": None,
        "made_at": datetime(2026, 11, 30, tzinfo=UTC),
        "made_by": "anna",
        "decision": "recommended",
        "summary": {},
    }
    return made(**fields | changes)


ON, TRIED = head_of(1, EOSINOPHIL), head_of(2, MONOCYTE)


@dataclass(frozen=True)
class Heads(NoHeads):
    """One head is on, and another one answers for half."""

    on: SiteHead | None = ON
    tried: SiteHead | None = TRIED

    def active(self, profile: str) -> SiteHead | None:  # noqa: ARG002
        return self.on

    def canary(self, profile: str) -> Canary | None:  # noqa: ARG002
        return None if self.tried is None else Canary(self.tried, 0.5)


def services_with(heads: NoHeads, model: ModelIdentity = IDENTITY) -> Services:
    """Of a microscope that its site has a profile for, and no cell looks like another's."""
    profiles = {PROFILE.name: replace(PROFILE, features=None)}
    services = Services(
        FakeModelServer(model), RuleBasedWriter(), profiles, PROFILE.name, "en", DecodeLimits()
    )
    return replace(services, heads=heads)


def field_file(*names: str) -> bytes:
    random = np.random.default_rng(4)
    return image_file(paint_field(scanner(random), random, names).rgb)


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [cell_file("Eosinophil", seed=seed, size=220) for seed in range(1, 9)]


async def answers(services: Services, images: list[bytes], specimen: str | None = None) -> list[Analysis]:
    options = AnalysisOptions(report=False)
    if specimen is not None:
        options = replace(cell_options(SpecimenOrder(specimen)), heatmap=False)
    return [await analyse(image, services, options) for image in images]


async def answered(services: Services, images: list[bytes]) -> list[Analysis]:
    async with services.running():
        return await answers(services, images)


def counted(head: str, review: str) -> float:
    labels = {"profile": PROFILE.name, "head": head, "review": review}
    return REGISTRY.get_sample_value("wbc_head_canary_answers_total", labels) or 0.0


async def test_an_image_gets_the_head_that_its_hash_says_and_the_answer_that_head_gives_where_it_is_on(
    images: list[bytes],
) -> None:
    found = await answered(services_with(Heads()), images)

    takes = [Canary(TRIED, 0.5).takes(sha256(image).hexdigest()) for image in images]
    assert set(takes) == {False, True}
    assert [one.head for one in found] == [(TRIED if taken else ON).label for taken in takes]
    alone = {
        head.label: await answered(services_with(Heads(on=head, tried=None)), images) for head in (ON, TRIED)
    }
    for place, one in enumerate(found):
        assert one.head is not None
        expected = alone[one.head][place]
        assert one.finding == expected.finding
        assert one.profile_sha256 == expected.profile_sha256
    again = await answered(services_with(Heads()), images[::-1])
    assert [one.head for one in again[::-1]] == [one.head for one in found]


async def test_all_images_of_a_specimen_are_answered_by_one_head(images: list[bytes]) -> None:
    services = services_with(Heads())
    async with services.running():
        of_specimens = [await answers(services, images[:3], f"S-{number}") for number in range(8)]
    heads = [{one.head for one in found} for found in of_specimens]
    assert {len(one) for one in heads} == {1}
    assert set().union(*heads) == {ON.label, TRIED.label}


async def test_all_cells_of_a_field_are_answered_by_one_head_and_counted() -> None:
    services, fields = (
        services_with(Heads()),
        [field_file("Neutrophil", "Lymphocyte"), field_file("Monocyte")],
    )
    async with services.running():
        alone = [await analyse_field(field, services) for field in fields]
        of_specimens = [
            await analyse_field(fields[0], services, FieldOptions(specimen=f"S-{number}"))
            for number in range(8)
        ]
    for field, found in zip(fields, alone, strict=True):
        head = TRIED if Canary(TRIED, 0.5).takes(sha256(field).hexdigest()) else ON
        assert found.head == head.label
        assert {cell.finding.class_name for cell in found.found} == {
            "Monocyte" if head is TRIED else "Eosinophil"
        }
    assert {found.head for found in of_specimens} == {ON.label, TRIED.label}
    counts = services.canary_counts
    images_of = {head.label: sum(counts.of(TRIED, head).values()) for head in (ON, TRIED)}
    every = [*alone, *of_specimens]
    assert images_of == {
        label: sum(cell.is_identified for one in every if one.head == label for cell in one.found)
        for label in images_of
    }


async def test_answers_and_those_for_review_are_counted_by_head_while_there_is_a_canary(
    images: list[bytes],
) -> None:
    before = {
        pair: counted(*pair)
        for pair in [(head.name, said) for head in (ON, TRIED) for said in ("true", "false")]
    }
    unsure = head_of(2, MONOCYTE, delta=TRIED.delta / 1e3)
    services = services_with(Heads(tried=unsure))

    found = await answered(services, images)
    await answered(services_with(Heads(tried=None)), images)

    for head in (ON, unsure):
        mine = [one for one in found if one.head == head.label]
        said = [{reason.code for reason in one.finding.review_reasons} for one in mine]
        assert all(DEVICE_UNKNOWN in codes for codes in said)  # of the microscope, and of no head
        review = sum(codes != {DEVICE_UNKNOWN} for codes in said)
        assert 0 < len(mine) < len(images)
        assert services.canary_counts.of(unsure, head) == {
            for_review: number
            for for_review, number in ((True, review), (False, len(mine) - review))
            if number
        }
        assert counted(head.name, "true") - before[head.name, "true"] == review
        assert counted(head.name, "false") - before[head.name, "false"] == len(mine) - review
    assert services.canary_counts.of(unsure, None) == {}


@pytest.mark.parametrize(
    "tried",
    [
        head_of(2, MONOCYTE, model=ModelIdentity("wbc", 2, None)),
        head_of(2, MONOCYTE, recipe_sha256="ab" * 32),
    ],
    ids=["of another model", "of other images"],
)
async def test_where_a_canary_does_not_fit_the_head_that_is_on_answers(
    images: list[bytes], tried: SiteHead
) -> None:
    found = await answered(services_with(Heads(tried=tried)), images)

    assert {one.head for one in found} == {ON.label}


async def test_where_neither_head_is_of_the_model_its_own_answers(images: list[bytes]) -> None:
    found = await answered(services_with(Heads(), ModelIdentity("wbc", 2, None)), images)

    assert {one.head for one in found} == {None}


async def test_an_audit_that_is_in_force_holds_for_the_head_that_is_on_and_not_for_the_canary(
    images: list[bytes], tmp_path: Path
) -> None:
    audited = replace(PROFILE, features=None).with_head(ON)
    plan = plan_of(profile_sha256=audited.sha256, model=AuditedModel.of(IDENTITY, PRECISION))
    (tmp_path / "audit.json").write_text(audit_of(plan, eosinophils(99)).judged(NOW).model_dump_json())
    services = replace(services_with(Heads()), audits=AuditRegistry(tmp_path, PRECISION))

    found = await answered(services, images)

    states = {(one.head, one.device_state) for one in found}
    assert states == {(ON.label, "audited"), (TRIED.label, "profiled")}
    for one in found:
        codes = {reason.code for reason in one.finding.review_reasons}
        assert (DEVICE_UNKNOWN in codes) == (one.head == TRIED.label)
