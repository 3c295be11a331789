"""The Python client of the gRPC edge ``wbc.v1``: needs gRPC and nothing else of the service.

For research use only. Not for use in diagnostic procedures.

The modules know one another, and the messages in ``protos`` beside this folder, by relative imports alone:
here they are ``orchestrator.client``, installed on their own (``pyproject.toml``) they are in ``wbc_client``.
"""

from .adaptations import LabelledImage, LearntHead, SiteHead, SiteHeads, SuggestedCells
from .aio import AsyncClient
from .client import Client
from .connection import Connection, TlsFiles
from .differentials import Cell, ClassCount, Differential, DifferentialPage, DifferentialSummary, Search
from .errors import AnalyzerError
from .fields import FieldAnalysis, FieldCell, FieldOptions
from .options import AnalysisOptions, SpecimenOrder
from .results import Analysis, Box, Focus, Heatmap, ModelDescription, Report, StreamResult

__all__ = [
    "Analysis",
    "AnalysisOptions",
    "AnalyzerError",
    "AsyncClient",
    "Box",
    "Cell",
    "ClassCount",
    "Client",
    "Connection",
    "Differential",
    "DifferentialPage",
    "DifferentialSummary",
    "FieldAnalysis",
    "FieldCell",
    "FieldOptions",
    "Focus",
    "Heatmap",
    "LabelledImage",
    "LearntHead",
    "ModelDescription",
    "Report",
    "Search",
    "SiteHead",
    "SiteHeads",
    "SpecimenOrder",
    "StreamResult",
    "SuggestedCells",
    "TlsFiles",
]
