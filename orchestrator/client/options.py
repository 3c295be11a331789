"""What may be chosen for an analysis."""

from dataclasses import dataclass

from ..protos.wbc.v1 import wbc_pb2 as pb
from .words import ColourMap, HeatmapFormat, HeatmapStyle, ImageKind, Language, Tta, number


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """None stands for the service's default; for ``tta``, for the profile's.

    Args:
        profile: device profile; ``Client.model()`` lists them.
        tta: test-time augmentation: one view, eight, or eight only where one is not clear.
        language: of the report.
        heatmap, report, outlines: whether the answer has them.
        heatmap_format, heatmap_style, colour_map: how the heatmap is drawn.
    """

    profile: str | None = None
    tta: Tta | None = None
    language: Language | None = None
    heatmap: bool = True
    heatmap_format: HeatmapFormat | None = None
    heatmap_style: HeatmapStyle | None = None
    colour_map: ColourMap | None = None
    report: bool = True
    outlines: bool = False

    def message(self) -> pb.AnalysisOptions:
        """As it travels. Raises ``ValueError`` where a word is unknown."""
        return pb.AnalysisOptions(
            profile=self.profile or "",
            tta=number(pb.TestTimeAugmentation, "TEST_TIME_AUGMENTATION", self.tta),
            language=number(pb.Language, "LANGUAGE", self.language),
            heatmap=self.heatmap,
            heatmap_format=number(pb.HeatmapFormat, "HEATMAP_FORMAT", self.heatmap_format),
            heatmap_style=number(pb.HeatmapStyle, "HEATMAP_STYLE", self.heatmap_style),
            colour_map=number(pb.ColourMap, "COLOUR_MAP", self.colour_map),
            report=self.report,
            outlines=self.outlines,
        )


DEFAULT_OPTIONS = AnalysisOptions()


@dataclass(frozen=True, slots=True)
class SpecimenOrder:
    """What is ordered for a specimen.

    Args:
        specimen_id: the laboratory's own name of it, 1 to 64 characters.
        total_wbc: white cell count in 10^9/L, measured elsewhere; no absolute counts without it.
        profile, tta: as in :class:`AnalysisOptions`.
        kind: what the images show: ``cell``, ``field``, or ``auto``, what each of them tells.
    """

    specimen_id: str
    total_wbc: float | None = None
    profile: str | None = None
    tta: Tta | None = None
    kind: ImageKind = "cell"

    def message(self, idempotency_key: str, images: int) -> pb.SpecimenOrder:
        """As it travels, with the number of its images."""
        return pb.SpecimenOrder(
            specimen_id=self.specimen_id,
            total_wbc=self.total_wbc,
            profile=self.profile or "",
            tta=number(pb.TestTimeAugmentation, "TEST_TIME_AUGMENTATION", self.tta),
            idempotency_key=idempotency_key,
            images=images,
            kind=number(pb.ImageKind, "IMAGE_KIND", self.kind),
        )
