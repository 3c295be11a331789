"""What an analysis, and a differential of files, ask of the audits of a site's microscopes."""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.commands.differential import count_files
from orchestrator.commands.image_files import ImageFile
from orchestrator.device_state import NoAudits
from orchestrator.domain import ModelIdentity, ReviewReason
from orchestrator.profiles import Profile, load_profiles
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.specimen import ReleasedErrors, SpecimenCell, SpecimenOrder
from orchestrator.specimens.differential import DifferentialRules
from orchestrator.vision.decode import DecodeLimits
from tests.fakes.model_server import FakeModelServer
from tests.synthetic_cells import cell_file

LIMITS = {"Eosinophil": 0.03}


@dataclass(frozen=True)
class SeenAudits(NoAudits):
    """Every device is audited, everything is released; remembers which images were asked for."""

    asked: list[str] = field(default_factory=list)

    def state_of(self, profile: Profile, model: ModelIdentity) -> Literal["audited", "suspended"] | None:  # noqa: ARG002
        return "audited"

    def releases(self, profile: Profile, model: ModelIdentity, class_index: int, confidence: float) -> bool:  # noqa: ARG002
        return True

    def sample_of(self, profile: Profile, model: ModelIdentity, image_sha256: str) -> ReviewReason | None:  # noqa: ARG002
        self.asked.append(image_sha256)
        return None

    def released_errors(self, cells: Iterable[SpecimenCell]) -> ReleasedErrors | None:
        return ReleasedErrors(LIMITS) if all(cell.image_sha256 in self.asked for cell in cells) else None


def services_with(audits: NoAudits) -> Services:
    profile = replace(load_profiles()["default"], device="known")
    services = Services(FakeModelServer(), RuleBasedWriter(), {"p": profile}, "p", "en", DecodeLimits())
    return replace(services, audits=audits)


async def test_whether_an_answer_is_of_the_sample_is_asked_of_its_very_image() -> None:
    audits = SeenAudits()
    services = services_with(audits)
    images = [cell_file("Eosinophil", seed=seed, size=220) for seed in (1, 2)]

    async with services.running():
        for image in images:
            await analyse(image, services, AnalysisOptions(report=False))

    assert audits.asked == [sha256(image).hexdigest() for image in images]


async def test_a_differential_of_files_carries_what_the_audits_know_of_the_error(tmp_path: Path) -> None:
    path = tmp_path / "cell.png"
    path.write_bytes(cell_file("Eosinophil", seed=1, size=220))

    counted = await count_files(
        [ImageFile(path)],
        SpecimenOrder("S", None, None, None),
        services_with(SeenAudits()),
        DifferentialRules(),
        nullcontext(lambda: None),
    )

    assert counted.released_errors == ReleasedErrors(LIMITS)
