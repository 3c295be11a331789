import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CellClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CELL_CLASS_UNSPECIFIED: _ClassVar[CellClass]
    CELL_CLASS_BASOPHIL: _ClassVar[CellClass]
    CELL_CLASS_EOSINOPHIL: _ClassVar[CellClass]
    CELL_CLASS_LYMPHOCYTE: _ClassVar[CellClass]
    CELL_CLASS_MONOCYTE: _ClassVar[CellClass]
    CELL_CLASS_NEUTROPHIL: _ClassVar[CellClass]
    CELL_CLASS_UNIDENTIFIED: _ClassVar[CellClass]
    CELL_CLASS_OTHER: _ClassVar[CellClass]

class Denominator(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DENOMINATOR_UNSPECIFIED: _ClassVar[Denominator]
    DENOMINATOR_WHITE_CELLS: _ClassVar[Denominator]
    DENOMINATOR_PER_100_WHITE_CELLS: _ClassVar[Denominator]
    DENOMINATOR_NONE: _ClassVar[Denominator]

class Language(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LANGUAGE_UNSPECIFIED: _ClassVar[Language]
    LANGUAGE_EN: _ClassVar[Language]
    LANGUAGE_TR: _ClassVar[Language]

class TestTimeAugmentation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEST_TIME_AUGMENTATION_UNSPECIFIED: _ClassVar[TestTimeAugmentation]
    TEST_TIME_AUGMENTATION_NONE: _ClassVar[TestTimeAugmentation]
    TEST_TIME_AUGMENTATION_LIGHT: _ClassVar[TestTimeAugmentation]
    TEST_TIME_AUGMENTATION_ADAPTIVE: _ClassVar[TestTimeAugmentation]

class ColourMap(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COLOUR_MAP_UNSPECIFIED: _ClassVar[ColourMap]
    COLOUR_MAP_VIRIDIS: _ClassVar[ColourMap]
    COLOUR_MAP_INFERNO: _ClassVar[ColourMap]
    COLOUR_MAP_CIVIDIS: _ClassVar[ColourMap]
    COLOUR_MAP_JET: _ClassVar[ColourMap]

class HeatmapFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEATMAP_FORMAT_UNSPECIFIED: _ClassVar[HeatmapFormat]
    HEATMAP_FORMAT_PNG: _ClassVar[HeatmapFormat]
    HEATMAP_FORMAT_JPEG: _ClassVar[HeatmapFormat]

class HeatmapStyle(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEATMAP_STYLE_UNSPECIFIED: _ClassVar[HeatmapStyle]
    HEATMAP_STYLE_OVERLAY: _ClassVar[HeatmapStyle]
    HEATMAP_STYLE_LEVELS: _ClassVar[HeatmapStyle]
    HEATMAP_STYLE_REFERENCE: _ClassVar[HeatmapStyle]

class Routing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUTING_UNSPECIFIED: _ClassVar[Routing]
    ROUTING_NONE: _ClassVar[Routing]
    ROUTING_MAIN: _ClassVar[Routing]
    ROUTING_AUX: _ClassVar[Routing]
    ROUTING_PRIOR: _ClassVar[Routing]

class FocusJudgement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FOCUS_JUDGEMENT_UNSPECIFIED: _ClassVar[FocusJudgement]
    FOCUS_JUDGEMENT_SOUND: _ClassVar[FocusJudgement]
    FOCUS_JUDGEMENT_DOUBTFUL: _ClassVar[FocusJudgement]
    FOCUS_JUDGEMENT_BACKGROUND: _ClassVar[FocusJudgement]

class DeviceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_STATE_UNSPECIFIED: _ClassVar[DeviceState]
    DEVICE_STATE_UNKNOWN: _ClassVar[DeviceState]
    DEVICE_STATE_PROFILED: _ClassVar[DeviceState]
    DEVICE_STATE_KNOWN: _ClassVar[DeviceState]
    DEVICE_STATE_AUDITED: _ClassVar[DeviceState]

class SpecimenState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPECIMEN_STATE_UNSPECIFIED: _ClassVar[SpecimenState]
    SPECIMEN_STATE_WAITING: _ClassVar[SpecimenState]
    SPECIMEN_STATE_RUNNING: _ClassVar[SpecimenState]
    SPECIMEN_STATE_ANALYSED: _ClassVar[SpecimenState]
    SPECIMEN_STATE_SIGNED: _ClassVar[SpecimenState]
    SPECIMEN_STATE_CANCELLED: _ClassVar[SpecimenState]

class CellState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CELL_STATE_UNSPECIFIED: _ClassVar[CellState]
    CELL_STATE_WAITING: _ClassVar[CellState]
    CELL_STATE_ANALYSED: _ClassVar[CellState]
    CELL_STATE_FAILED: _ClassVar[CellState]

class Flag(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FLAG_UNSPECIFIED: _ClassVar[Flag]
    FLAG_LOW: _ClassVar[Flag]
    FLAG_HIGH: _ClassVar[Flag]

class ImageKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_KIND_UNSPECIFIED: _ClassVar[ImageKind]
    IMAGE_KIND_CELL: _ClassVar[ImageKind]
    IMAGE_KIND_FIELD: _ClassVar[ImageKind]
    IMAGE_KIND_AUTO: _ClassVar[ImageKind]

class SpecimenSort(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPECIMEN_SORT_UNSPECIFIED: _ClassVar[SpecimenSort]
    SPECIMEN_SORT_CREATED: _ClassVar[SpecimenSort]
    SPECIMEN_SORT_CREATED_DESCENDING: _ClassVar[SpecimenSort]
    SPECIMEN_SORT_DOUBT: _ClassVar[SpecimenSort]
    SPECIMEN_SORT_DOUBT_DESCENDING: _ClassVar[SpecimenSort]
    SPECIMEN_SORT_STATE: _ClassVar[SpecimenSort]
    SPECIMEN_SORT_STATE_DESCENDING: _ClassVar[SpecimenSort]
CELL_CLASS_UNSPECIFIED: CellClass
CELL_CLASS_BASOPHIL: CellClass
CELL_CLASS_EOSINOPHIL: CellClass
CELL_CLASS_LYMPHOCYTE: CellClass
CELL_CLASS_MONOCYTE: CellClass
CELL_CLASS_NEUTROPHIL: CellClass
CELL_CLASS_UNIDENTIFIED: CellClass
CELL_CLASS_OTHER: CellClass
DENOMINATOR_UNSPECIFIED: Denominator
DENOMINATOR_WHITE_CELLS: Denominator
DENOMINATOR_PER_100_WHITE_CELLS: Denominator
DENOMINATOR_NONE: Denominator
LANGUAGE_UNSPECIFIED: Language
LANGUAGE_EN: Language
LANGUAGE_TR: Language
TEST_TIME_AUGMENTATION_UNSPECIFIED: TestTimeAugmentation
TEST_TIME_AUGMENTATION_NONE: TestTimeAugmentation
TEST_TIME_AUGMENTATION_LIGHT: TestTimeAugmentation
TEST_TIME_AUGMENTATION_ADAPTIVE: TestTimeAugmentation
COLOUR_MAP_UNSPECIFIED: ColourMap
COLOUR_MAP_VIRIDIS: ColourMap
COLOUR_MAP_INFERNO: ColourMap
COLOUR_MAP_CIVIDIS: ColourMap
COLOUR_MAP_JET: ColourMap
HEATMAP_FORMAT_UNSPECIFIED: HeatmapFormat
HEATMAP_FORMAT_PNG: HeatmapFormat
HEATMAP_FORMAT_JPEG: HeatmapFormat
HEATMAP_STYLE_UNSPECIFIED: HeatmapStyle
HEATMAP_STYLE_OVERLAY: HeatmapStyle
HEATMAP_STYLE_LEVELS: HeatmapStyle
HEATMAP_STYLE_REFERENCE: HeatmapStyle
ROUTING_UNSPECIFIED: Routing
ROUTING_NONE: Routing
ROUTING_MAIN: Routing
ROUTING_AUX: Routing
ROUTING_PRIOR: Routing
FOCUS_JUDGEMENT_UNSPECIFIED: FocusJudgement
FOCUS_JUDGEMENT_SOUND: FocusJudgement
FOCUS_JUDGEMENT_DOUBTFUL: FocusJudgement
FOCUS_JUDGEMENT_BACKGROUND: FocusJudgement
DEVICE_STATE_UNSPECIFIED: DeviceState
DEVICE_STATE_UNKNOWN: DeviceState
DEVICE_STATE_PROFILED: DeviceState
DEVICE_STATE_KNOWN: DeviceState
DEVICE_STATE_AUDITED: DeviceState
SPECIMEN_STATE_UNSPECIFIED: SpecimenState
SPECIMEN_STATE_WAITING: SpecimenState
SPECIMEN_STATE_RUNNING: SpecimenState
SPECIMEN_STATE_ANALYSED: SpecimenState
SPECIMEN_STATE_SIGNED: SpecimenState
SPECIMEN_STATE_CANCELLED: SpecimenState
CELL_STATE_UNSPECIFIED: CellState
CELL_STATE_WAITING: CellState
CELL_STATE_ANALYSED: CellState
CELL_STATE_FAILED: CellState
FLAG_UNSPECIFIED: Flag
FLAG_LOW: Flag
FLAG_HIGH: Flag
IMAGE_KIND_UNSPECIFIED: ImageKind
IMAGE_KIND_CELL: ImageKind
IMAGE_KIND_FIELD: ImageKind
IMAGE_KIND_AUTO: ImageKind
SPECIMEN_SORT_UNSPECIFIED: SpecimenSort
SPECIMEN_SORT_CREATED: SpecimenSort
SPECIMEN_SORT_CREATED_DESCENDING: SpecimenSort
SPECIMEN_SORT_DOUBT: SpecimenSort
SPECIMEN_SORT_DOUBT_DESCENDING: SpecimenSort
SPECIMEN_SORT_STATE: SpecimenSort
SPECIMEN_SORT_STATE_DESCENDING: SpecimenSort

class AnalysisOptions(_message.Message):
    __slots__ = ("profile", "tta", "language", "heatmap", "heatmap_format", "heatmap_style", "colour_map", "report", "outlines")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    TTA_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    HEATMAP_FIELD_NUMBER: _ClassVar[int]
    HEATMAP_FORMAT_FIELD_NUMBER: _ClassVar[int]
    HEATMAP_STYLE_FIELD_NUMBER: _ClassVar[int]
    COLOUR_MAP_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    OUTLINES_FIELD_NUMBER: _ClassVar[int]
    profile: str
    tta: TestTimeAugmentation
    language: Language
    heatmap: bool
    heatmap_format: HeatmapFormat
    heatmap_style: HeatmapStyle
    colour_map: ColourMap
    report: bool
    outlines: bool
    def __init__(self, profile: _Optional[str] = ..., tta: _Optional[_Union[TestTimeAugmentation, str]] = ..., language: _Optional[_Union[Language, str]] = ..., heatmap: _Optional[bool] = ..., heatmap_format: _Optional[_Union[HeatmapFormat, str]] = ..., heatmap_style: _Optional[_Union[HeatmapStyle, str]] = ..., colour_map: _Optional[_Union[ColourMap, str]] = ..., report: _Optional[bool] = ..., outlines: _Optional[bool] = ...) -> None: ...

class AnalyzeRequest(_message.Message):
    __slots__ = ("image", "options")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    options: AnalysisOptions
    def __init__(self, image: _Optional[bytes] = ..., options: _Optional[_Union[AnalysisOptions, _Mapping]] = ...) -> None: ...

class AnalyzeResponse(_message.Message):
    __slots__ = ("analysis",)
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    analysis: Analysis
    def __init__(self, analysis: _Optional[_Union[Analysis, _Mapping]] = ...) -> None: ...

class AnalyzeStreamRequest(_message.Message):
    __slots__ = ("correlation_id", "image", "options")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    image: bytes
    options: AnalysisOptions
    def __init__(self, correlation_id: _Optional[str] = ..., image: _Optional[bytes] = ..., options: _Optional[_Union[AnalysisOptions, _Mapping]] = ...) -> None: ...

class AnalyzeStreamResponse(_message.Message):
    __slots__ = ("correlation_id", "analysis", "error")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    analysis: Analysis
    error: AnalysisError
    def __init__(self, correlation_id: _Optional[str] = ..., analysis: _Optional[_Union[Analysis, _Mapping]] = ..., error: _Optional[_Union[AnalysisError, _Mapping]] = ...) -> None: ...

class AnalysisError(_message.Message):
    __slots__ = ("code", "reason", "message", "request_id", "field_violations", "retry_after", "disclaimer")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FIELD_VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    DISCLAIMER_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    request_id: str
    field_violations: _containers.RepeatedCompositeFieldContainer[FieldViolation]
    retry_after: _duration_pb2.Duration
    disclaimer: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., request_id: _Optional[str] = ..., field_violations: _Optional[_Iterable[_Union[FieldViolation, _Mapping]]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., disclaimer: _Optional[str] = ...) -> None: ...

class FieldViolation(_message.Message):
    __slots__ = ("field", "message", "allowed")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    field: str
    message: str
    allowed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, field: _Optional[str] = ..., message: _Optional[str] = ..., allowed: _Optional[_Iterable[str]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "sha256", "server")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    sha256: str
    server: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., sha256: _Optional[str] = ..., server: _Optional[str] = ...) -> None: ...

class ImageSize(_message.Message):
    __slots__ = ("height", "width")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...

class ClassProbability(_message.Message):
    __slots__ = ("cell_class", "probability")
    CELL_CLASS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    cell_class: CellClass
    probability: float
    def __init__(self, cell_class: _Optional[_Union[CellClass, str]] = ..., probability: _Optional[float] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("cell_class", "confidence", "margin", "decided_by")
    CELL_CLASS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    cell_class: CellClass
    confidence: float
    margin: float
    decided_by: Routing
    def __init__(self, cell_class: _Optional[_Union[CellClass, str]] = ..., confidence: _Optional[float] = ..., margin: _Optional[float] = ..., decided_by: _Optional[_Union[Routing, str]] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class FocusShares(_message.Message):
    __slots__ = ("nucleus", "cytoplasm", "background")
    NUCLEUS_FIELD_NUMBER: _ClassVar[int]
    CYTOPLASM_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    nucleus: float
    cytoplasm: float
    background: float
    def __init__(self, nucleus: _Optional[float] = ..., cytoplasm: _Optional[float] = ..., background: _Optional[float] = ...) -> None: ...

class Focus(_message.Message):
    __slots__ = ("ratio", "shares", "judgement", "reasons")
    RATIO_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    ratio: float
    shares: FocusShares
    judgement: FocusJudgement
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    def __init__(self, ratio: _Optional[float] = ..., shares: _Optional[_Union[FocusShares, _Mapping]] = ..., judgement: _Optional[_Union[FocusJudgement, str]] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ...) -> None: ...

class Heatmap(_message.Message):
    __slots__ = ("media_type", "colour_map", "data")
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    COLOUR_MAP_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    media_type: str
    colour_map: ColourMap
    data: bytes
    def __init__(self, media_type: _Optional[str] = ..., colour_map: _Optional[_Union[ColourMap, str]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("row", "column")
    ROW_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    row: float
    column: float
    def __init__(self, row: _Optional[float] = ..., column: _Optional[float] = ...) -> None: ...

class Polygon(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[Point]
    def __init__(self, points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ...) -> None: ...

class Outlines(_message.Message):
    __slots__ = ("cell", "nucleus")
    CELL_FIELD_NUMBER: _ClassVar[int]
    NUCLEUS_FIELD_NUMBER: _ClassVar[int]
    cell: _containers.RepeatedCompositeFieldContainer[Polygon]
    nucleus: _containers.RepeatedCompositeFieldContainer[Polygon]
    def __init__(self, cell: _Optional[_Iterable[_Union[Polygon, _Mapping]]] = ..., nucleus: _Optional[_Iterable[_Union[Polygon, _Mapping]]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("text", "writer", "language", "model")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    text: str
    writer: str
    language: Language
    model: str
    def __init__(self, text: _Optional[str] = ..., writer: _Optional[str] = ..., language: _Optional[_Union[Language, str]] = ..., model: _Optional[str] = ...) -> None: ...

class Analysis(_message.Message):
    __slots__ = ("request_id", "model", "profile", "image", "views", "decision", "needs_review", "review_reasons", "probabilities", "aux_neutrophil_probability", "energy", "focus", "heatmap", "outlines", "report", "timings_ms", "disclaimer", "profile_sha256", "not_wbc", "device_state", "head", "box")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    NEEDS_REVIEW_FIELD_NUMBER: _ClassVar[int]
    REVIEW_REASONS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    AUX_NEUTROPHIL_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    FOCUS_FIELD_NUMBER: _ClassVar[int]
    HEATMAP_FIELD_NUMBER: _ClassVar[int]
    OUTLINES_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    DISCLAIMER_FIELD_NUMBER: _ClassVar[int]
    PROFILE_SHA256_FIELD_NUMBER: _ClassVar[int]
    NOT_WBC_FIELD_NUMBER: _ClassVar[int]
    DEVICE_STATE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: Model
    profile: str
    image: ImageSize
    views: int
    decision: Decision
    needs_review: bool
    review_reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    probabilities: _containers.RepeatedCompositeFieldContainer[ClassProbability]
    aux_neutrophil_probability: float
    energy: float
    focus: Focus
    heatmap: Heatmap
    outlines: Outlines
    report: Report
    timings_ms: _containers.ScalarMap[str, float]
    disclaimer: str
    profile_sha256: str
    not_wbc: float
    device_state: DeviceState
    head: str
    box: Box
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., profile: _Optional[str] = ..., image: _Optional[_Union[ImageSize, _Mapping]] = ..., views: _Optional[int] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ..., needs_review: _Optional[bool] = ..., review_reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., probabilities: _Optional[_Iterable[_Union[ClassProbability, _Mapping]]] = ..., aux_neutrophil_probability: _Optional[float] = ..., energy: _Optional[float] = ..., focus: _Optional[_Union[Focus, _Mapping]] = ..., heatmap: _Optional[_Union[Heatmap, _Mapping]] = ..., outlines: _Optional[_Union[Outlines, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., disclaimer: _Optional[str] = ..., profile_sha256: _Optional[str] = ..., not_wbc: _Optional[float] = ..., device_state: _Optional[_Union[DeviceState, str]] = ..., head: _Optional[str] = ..., box: _Optional[_Union[Box, _Mapping]] = ...) -> None: ...

class FieldOptions(_message.Message):
    __slots__ = ("profile", "tta", "red_cell_px")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    TTA_FIELD_NUMBER: _ClassVar[int]
    RED_CELL_PX_FIELD_NUMBER: _ClassVar[int]
    profile: str
    tta: TestTimeAugmentation
    red_cell_px: float
    def __init__(self, profile: _Optional[str] = ..., tta: _Optional[_Union[TestTimeAugmentation, str]] = ..., red_cell_px: _Optional[float] = ...) -> None: ...

class AnalyzeFieldRequest(_message.Message):
    __slots__ = ("image", "options")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    options: FieldOptions
    def __init__(self, image: _Optional[bytes] = ..., options: _Optional[_Union[FieldOptions, _Mapping]] = ...) -> None: ...

class AnalyzeFieldResponse(_message.Message):
    __slots__ = ("field",)
    FIELD_FIELD_NUMBER: _ClassVar[int]
    field: FieldAnalysis
    def __init__(self, field: _Optional[_Union[FieldAnalysis, _Mapping]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("top", "left", "bottom", "right")
    TOP_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    top: float
    left: float
    bottom: float
    right: float
    def __init__(self, top: _Optional[float] = ..., left: _Optional[float] = ..., bottom: _Optional[float] = ..., right: _Optional[float] = ...) -> None: ...

class FieldCell(_message.Message):
    __slots__ = ("box", "outlines", "decision", "needs_review", "review_reasons", "probabilities", "not_wbc", "views", "is_cut", "is_clump")
    BOX_FIELD_NUMBER: _ClassVar[int]
    OUTLINES_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    NEEDS_REVIEW_FIELD_NUMBER: _ClassVar[int]
    REVIEW_REASONS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    NOT_WBC_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    IS_CUT_FIELD_NUMBER: _ClassVar[int]
    IS_CLUMP_FIELD_NUMBER: _ClassVar[int]
    box: Box
    outlines: Outlines
    decision: Decision
    needs_review: bool
    review_reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    probabilities: _containers.RepeatedCompositeFieldContainer[ClassProbability]
    not_wbc: float
    views: int
    is_cut: bool
    is_clump: bool
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., outlines: _Optional[_Union[Outlines, _Mapping]] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ..., needs_review: _Optional[bool] = ..., review_reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., probabilities: _Optional[_Iterable[_Union[ClassProbability, _Mapping]]] = ..., not_wbc: _Optional[float] = ..., views: _Optional[int] = ..., is_cut: _Optional[bool] = ..., is_clump: _Optional[bool] = ...) -> None: ...

class FieldAnalysis(_message.Message):
    __slots__ = ("request_id", "model", "profile", "profile_sha256", "device_state", "image", "red_cell_px", "counts", "cells", "unidentified", "message", "timings_ms", "disclaimer", "head")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PROFILE_SHA256_FIELD_NUMBER: _ClassVar[int]
    DEVICE_STATE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    RED_CELL_PX_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    UNIDENTIFIED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    DISCLAIMER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: Model
    profile: str
    profile_sha256: str
    device_state: DeviceState
    image: ImageSize
    red_cell_px: float
    counts: _containers.ScalarMap[str, int]
    cells: _containers.RepeatedCompositeFieldContainer[FieldCell]
    unidentified: _containers.RepeatedCompositeFieldContainer[FieldCell]
    message: str
    timings_ms: _containers.ScalarMap[str, float]
    disclaimer: str
    head: str
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., profile: _Optional[str] = ..., profile_sha256: _Optional[str] = ..., device_state: _Optional[_Union[DeviceState, str]] = ..., image: _Optional[_Union[ImageSize, _Mapping]] = ..., red_cell_px: _Optional[float] = ..., counts: _Optional[_Mapping[str, int]] = ..., cells: _Optional[_Iterable[_Union[FieldCell, _Mapping]]] = ..., unidentified: _Optional[_Iterable[_Union[FieldCell, _Mapping]]] = ..., message: _Optional[str] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., disclaimer: _Optional[str] = ..., head: _Optional[str] = ...) -> None: ...

class SpecimenOrder(_message.Message):
    __slots__ = ("specimen_id", "total_wbc", "profile", "tta", "idempotency_key", "images", "kind")
    SPECIMEN_ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_WBC_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    TTA_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    specimen_id: str
    total_wbc: float
    profile: str
    tta: TestTimeAugmentation
    idempotency_key: str
    images: int
    kind: ImageKind
    def __init__(self, specimen_id: _Optional[str] = ..., total_wbc: _Optional[float] = ..., profile: _Optional[str] = ..., tta: _Optional[_Union[TestTimeAugmentation, str]] = ..., idempotency_key: _Optional[str] = ..., images: _Optional[int] = ..., kind: _Optional[_Union[ImageKind, str]] = ...) -> None: ...

class CreateDifferentialRequest(_message.Message):
    __slots__ = ("order", "image")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    order: SpecimenOrder
    image: bytes
    def __init__(self, order: _Optional[_Union[SpecimenOrder, _Mapping]] = ..., image: _Optional[bytes] = ...) -> None: ...

class CreateDifferentialResponse(_message.Message):
    __slots__ = ("differential", "created")
    DIFFERENTIAL_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    differential: Differential
    created: bool
    def __init__(self, differential: _Optional[_Union[Differential, _Mapping]] = ..., created: _Optional[bool] = ...) -> None: ...

class GetDifferentialRequest(_message.Message):
    __slots__ = ("differential_id", "cells")
    DIFFERENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    differential_id: str
    cells: bool
    def __init__(self, differential_id: _Optional[str] = ..., cells: _Optional[bool] = ...) -> None: ...

class GetDifferentialResponse(_message.Message):
    __slots__ = ("differential",)
    DIFFERENTIAL_FIELD_NUMBER: _ClassVar[int]
    differential: Differential
    def __init__(self, differential: _Optional[_Union[Differential, _Mapping]] = ...) -> None: ...

class ListDifferentialsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "specimen_id", "states", "created_from", "created_before", "text", "assignee", "mine", "needs_review", "sort")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SPECIMEN_ID_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    CREATED_FROM_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ASSIGNEE_FIELD_NUMBER: _ClassVar[int]
    MINE_FIELD_NUMBER: _ClassVar[int]
    NEEDS_REVIEW_FIELD_NUMBER: _ClassVar[int]
    SORT_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    specimen_id: str
    states: _containers.RepeatedScalarFieldContainer[SpecimenState]
    created_from: _timestamp_pb2.Timestamp
    created_before: _timestamp_pb2.Timestamp
    text: str
    assignee: str
    mine: bool
    needs_review: bool
    sort: SpecimenSort
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., specimen_id: _Optional[str] = ..., states: _Optional[_Iterable[_Union[SpecimenState, str]]] = ..., created_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text: _Optional[str] = ..., assignee: _Optional[str] = ..., mine: _Optional[bool] = ..., needs_review: _Optional[bool] = ..., sort: _Optional[_Union[SpecimenSort, str]] = ...) -> None: ...

class ListDifferentialsResponse(_message.Message):
    __slots__ = ("differentials", "next_page_token", "disclaimer")
    DIFFERENTIALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DISCLAIMER_FIELD_NUMBER: _ClassVar[int]
    differentials: _containers.RepeatedCompositeFieldContainer[DifferentialSummary]
    next_page_token: str
    disclaimer: str
    def __init__(self, differentials: _Optional[_Iterable[_Union[DifferentialSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., disclaimer: _Optional[str] = ...) -> None: ...

class DifferentialSummary(_message.Message):
    __slots__ = ("differential_id", "specimen_id", "state", "created_at", "cells", "waiting", "failed", "unreviewed", "signature", "assignee")
    DIFFERENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    SPECIMEN_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    UNREVIEWED_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    ASSIGNEE_FIELD_NUMBER: _ClassVar[int]
    differential_id: str
    specimen_id: str
    state: SpecimenState
    created_at: _timestamp_pb2.Timestamp
    cells: int
    waiting: int
    failed: int
    unreviewed: int
    signature: Signature
    assignee: str
    def __init__(self, differential_id: _Optional[str] = ..., specimen_id: _Optional[str] = ..., state: _Optional[_Union[SpecimenState, str]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cells: _Optional[int] = ..., waiting: _Optional[int] = ..., failed: _Optional[int] = ..., unreviewed: _Optional[int] = ..., signature: _Optional[_Union[Signature, _Mapping]] = ..., assignee: _Optional[str] = ...) -> None: ...

class DecideCellRequest(_message.Message):
    __slots__ = ("differential_id", "cell_id", "label", "etag", "label_name")
    DIFFERENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LABEL_NAME_FIELD_NUMBER: _ClassVar[int]
    differential_id: str
    cell_id: str
    label: CellClass
    etag: str
    label_name: str
    def __init__(self, differential_id: _Optional[str] = ..., cell_id: _Optional[str] = ..., label: _Optional[_Union[CellClass, str]] = ..., etag: _Optional[str] = ..., label_name: _Optional[str] = ...) -> None: ...

class DecideCellResponse(_message.Message):
    __slots__ = ("differential",)
    DIFFERENTIAL_FIELD_NUMBER: _ClassVar[int]
    differential: Differential
    def __init__(self, differential: _Optional[_Union[Differential, _Mapping]] = ...) -> None: ...

class UndecideCellRequest(_message.Message):
    __slots__ = ("differential_id", "cell_id", "etag")
    DIFFERENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    differential_id: str
    cell_id: str
    etag: str
    def __init__(self, differential_id: _Optional[str] = ..., cell_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class UndecideCellResponse(_message.Message):
    __slots__ = ("differential",)
    DIFFERENTIAL_FIELD_NUMBER: _ClassVar[int]
    differential: Differential
    def __init__(self, differential: _Optional[_Union[Differential, _Mapping]] = ...) -> None: ...

class CommentOnDifferentialRequest(_message.Message):
    __slots__ = ("differential_id", "cell_id", "text", "etag")
    DIFFERENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    differential_id: str
    cell_id: str
    text: str
    etag: str
    def __init__(self, differential_id: _Optional[str] = ..., cell_id: _Optional[str] = ..., text: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class CommentOnDifferentialResponse(_message.Message):
    __slots__ = ("differential",)
    DIFFERENTIAL_FIELD_NUMBER: _ClassVar[int]
    differential: Differential
    def __init__(self, differential: _Optional[_Union[Differential, _Mapping]] = ...) -> None: ...

class AddToDifferentialRequest(_message.Message):
    __slots__ = ("differential_id", "text", "etag")
    DIFFERENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    differential_id: str
    text: str
    etag: str
    def __init__(self, differential_id: _Optional[str] = ..., text: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class AddToDifferentialResponse(_message.Message):
    __slots__ = ("differential",)
    DIFFERENTIAL_FIELD_NUMBER: _ClassVar[int]
    differential: Differential
    def __init__(self, differential: _Optional[_Union[Differential, _Mapping]] = ...) -> None: ...

class SignDifferentialRequest(_message.Message):
    __slots__ = ("differential_id", "etag")
    DIFFERENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    differential_id: str
    etag: str
    def __init__(self, differential_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class SignDifferentialResponse(_message.Message):
    __slots__ = ("differential",)
    DIFFERENTIAL_FIELD_NUMBER: _ClassVar[int]
    differential: Differential
    def __init__(self, differential: _Optional[_Union[Differential, _Mapping]] = ...) -> None: ...

class Range(_message.Message):
    __slots__ = ("low", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class ClassCount(_message.Message):
    __slots__ = ("cell_class", "count", "percentage", "interval", "absolute", "absolute_interval", "reference", "flag", "label_name", "denominator", "part_of")
    CELL_CLASS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PERCENTAGE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    ABSOLUTE_FIELD_NUMBER: _ClassVar[int]
    ABSOLUTE_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    LABEL_NAME_FIELD_NUMBER: _ClassVar[int]
    DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    PART_OF_FIELD_NUMBER: _ClassVar[int]
    cell_class: CellClass
    count: int
    percentage: float
    interval: Range
    absolute: float
    absolute_interval: Range
    reference: Range
    flag: Flag
    label_name: str
    denominator: Denominator
    part_of: str
    def __init__(self, cell_class: _Optional[_Union[CellClass, str]] = ..., count: _Optional[int] = ..., percentage: _Optional[float] = ..., interval: _Optional[_Union[Range, _Mapping]] = ..., absolute: _Optional[float] = ..., absolute_interval: _Optional[_Union[Range, _Mapping]] = ..., reference: _Optional[_Union[Range, _Mapping]] = ..., flag: _Optional[_Union[Flag, str]] = ..., label_name: _Optional[str] = ..., denominator: _Optional[_Union[Denominator, str]] = ..., part_of: _Optional[str] = ...) -> None: ...

class CellResult(_message.Message):
    __slots__ = ("cell_class", "confidence", "margin", "probabilities", "energy", "review_codes", "focus_ratio", "views", "image", "model", "profile", "analysed_at", "profile_sha256", "not_wbc", "device_state", "decided_by", "head", "box")
    CELL_CLASS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    REVIEW_CODES_FIELD_NUMBER: _ClassVar[int]
    FOCUS_RATIO_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ANALYSED_AT_FIELD_NUMBER: _ClassVar[int]
    PROFILE_SHA256_FIELD_NUMBER: _ClassVar[int]
    NOT_WBC_FIELD_NUMBER: _ClassVar[int]
    DEVICE_STATE_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    cell_class: CellClass
    confidence: float
    margin: float
    probabilities: _containers.RepeatedCompositeFieldContainer[ClassProbability]
    energy: float
    review_codes: _containers.RepeatedScalarFieldContainer[str]
    focus_ratio: float
    views: int
    image: ImageSize
    model: Model
    profile: str
    analysed_at: _timestamp_pb2.Timestamp
    profile_sha256: str
    not_wbc: float
    device_state: DeviceState
    decided_by: Routing
    head: str
    box: Box
    def __init__(self, cell_class: _Optional[_Union[CellClass, str]] = ..., confidence: _Optional[float] = ..., margin: _Optional[float] = ..., probabilities: _Optional[_Iterable[_Union[ClassProbability, _Mapping]]] = ..., energy: _Optional[float] = ..., review_codes: _Optional[_Iterable[str]] = ..., focus_ratio: _Optional[float] = ..., views: _Optional[int] = ..., image: _Optional[_Union[ImageSize, _Mapping]] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., profile: _Optional[str] = ..., analysed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., profile_sha256: _Optional[str] = ..., not_wbc: _Optional[float] = ..., device_state: _Optional[_Union[DeviceState, str]] = ..., decided_by: _Optional[_Union[Routing, str]] = ..., head: _Optional[str] = ..., box: _Optional[_Union[Box, _Mapping]] = ...) -> None: ...

class CellDecision(_message.Message):
    __slots__ = ("cell_class", "person", "decided_at", "label_name")
    CELL_CLASS_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    LABEL_NAME_FIELD_NUMBER: _ClassVar[int]
    cell_class: CellClass
    person: str
    decided_at: _timestamp_pb2.Timestamp
    label_name: str
    def __init__(self, cell_class: _Optional[_Union[CellClass, str]] = ..., person: _Optional[str] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., label_name: _Optional[str] = ...) -> None: ...

class Cell(_message.Message):
    __slots__ = ("cell_id", "number", "image_sha256", "state", "label", "needs_review", "failure", "result", "decision", "etag", "place", "label_name")
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SHA256_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    NEEDS_REVIEW_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    LABEL_NAME_FIELD_NUMBER: _ClassVar[int]
    cell_id: str
    number: int
    image_sha256: str
    state: CellState
    label: CellClass
    needs_review: bool
    failure: str
    result: CellResult
    decision: CellDecision
    etag: str
    place: FieldPlace
    label_name: str
    def __init__(self, cell_id: _Optional[str] = ..., number: _Optional[int] = ..., image_sha256: _Optional[str] = ..., state: _Optional[_Union[CellState, str]] = ..., label: _Optional[_Union[CellClass, str]] = ..., needs_review: _Optional[bool] = ..., failure: _Optional[str] = ..., result: _Optional[_Union[CellResult, _Mapping]] = ..., decision: _Optional[_Union[CellDecision, _Mapping]] = ..., etag: _Optional[str] = ..., place: _Optional[_Union[FieldPlace, _Mapping]] = ..., label_name: _Optional[str] = ...) -> None: ...

class FieldPlace(_message.Message):
    __slots__ = ("number", "is_cut", "is_clump", "is_identified", "same_as", "added_by")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    IS_CUT_FIELD_NUMBER: _ClassVar[int]
    IS_CLUMP_FIELD_NUMBER: _ClassVar[int]
    IS_IDENTIFIED_FIELD_NUMBER: _ClassVar[int]
    SAME_AS_FIELD_NUMBER: _ClassVar[int]
    ADDED_BY_FIELD_NUMBER: _ClassVar[int]
    number: int
    is_cut: bool
    is_clump: bool
    is_identified: bool
    same_as: str
    added_by: str
    def __init__(self, number: _Optional[int] = ..., is_cut: _Optional[bool] = ..., is_clump: _Optional[bool] = ..., is_identified: _Optional[bool] = ..., same_as: _Optional[str] = ..., added_by: _Optional[str] = ...) -> None: ...

class SpecimenField(_message.Message):
    __slots__ = ("field_id", "number", "image_sha256", "image", "red_cell_px", "cells")
    FIELD_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SHA256_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    RED_CELL_PX_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    field_id: str
    number: int
    image_sha256: str
    image: ImageSize
    red_cell_px: float
    cells: int
    def __init__(self, field_id: _Optional[str] = ..., number: _Optional[int] = ..., image_sha256: _Optional[str] = ..., image: _Optional[_Union[ImageSize, _Mapping]] = ..., red_cell_px: _Optional[float] = ..., cells: _Optional[int] = ...) -> None: ...

class CellCounts(_message.Message):
    __slots__ = ("total", "counted", "waiting", "failed", "unreviewed")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    UNREVIEWED_FIELD_NUMBER: _ClassVar[int]
    total: int
    counted: int
    waiting: int
    failed: int
    unreviewed: int
    def __init__(self, total: _Optional[int] = ..., counted: _Optional[int] = ..., waiting: _Optional[int] = ..., failed: _Optional[int] = ..., unreviewed: _Optional[int] = ...) -> None: ...

class Comment(_message.Message):
    __slots__ = ("number", "cell_id", "person", "said_at", "text", "is_addendum")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CELL_ID_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    SAID_AT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IS_ADDENDUM_FIELD_NUMBER: _ClassVar[int]
    number: int
    cell_id: str
    person: str
    said_at: _timestamp_pb2.Timestamp
    text: str
    is_addendum: bool
    def __init__(self, number: _Optional[int] = ..., cell_id: _Optional[str] = ..., person: _Optional[str] = ..., said_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text: _Optional[str] = ..., is_addendum: _Optional[bool] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("person", "signed_at")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    person: str
    signed_at: _timestamp_pb2.Timestamp
    def __init__(self, person: _Optional[str] = ..., signed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReleasedErrors(_message.Message):
    __slots__ = ("limits", "ended")
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    limits: _containers.RepeatedCompositeFieldContainer[ClassProbability]
    ended: bool
    def __init__(self, limits: _Optional[_Iterable[_Union[ClassProbability, _Mapping]]] = ..., ended: _Optional[bool] = ...) -> None: ...

class Differential(_message.Message):
    __slots__ = ("differential_id", "order", "state", "created_at", "created_by", "progress", "counts", "min_cells", "reference_source", "label_shift", "review_list", "limitations", "models", "service_version", "computed_at", "signature", "cells", "disclaimer", "device_state", "released_errors", "etag", "fields", "cells_per_field", "assignee", "comments")
    DIFFERENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    MIN_CELLS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_SOURCE_FIELD_NUMBER: _ClassVar[int]
    LABEL_SHIFT_FIELD_NUMBER: _ClassVar[int]
    REVIEW_LIST_FIELD_NUMBER: _ClassVar[int]
    LIMITATIONS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_AT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    DISCLAIMER_FIELD_NUMBER: _ClassVar[int]
    DEVICE_STATE_FIELD_NUMBER: _ClassVar[int]
    RELEASED_ERRORS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    CELLS_PER_FIELD_FIELD_NUMBER: _ClassVar[int]
    ASSIGNEE_FIELD_NUMBER: _ClassVar[int]
    COMMENTS_FIELD_NUMBER: _ClassVar[int]
    differential_id: str
    order: SpecimenOrder
    state: SpecimenState
    created_at: _timestamp_pb2.Timestamp
    created_by: str
    progress: CellCounts
    counts: _containers.RepeatedCompositeFieldContainer[ClassCount]
    min_cells: int
    reference_source: str
    label_shift: _containers.RepeatedCompositeFieldContainer[ClassProbability]
    review_list: _containers.RepeatedScalarFieldContainer[str]
    limitations: _containers.RepeatedCompositeFieldContainer[Reason]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    service_version: str
    computed_at: _timestamp_pb2.Timestamp
    signature: Signature
    cells: _containers.RepeatedCompositeFieldContainer[Cell]
    disclaimer: str
    device_state: DeviceState
    released_errors: ReleasedErrors
    etag: str
    fields: _containers.RepeatedCompositeFieldContainer[SpecimenField]
    cells_per_field: float
    assignee: str
    comments: _containers.RepeatedCompositeFieldContainer[Comment]
    def __init__(self, differential_id: _Optional[str] = ..., order: _Optional[_Union[SpecimenOrder, _Mapping]] = ..., state: _Optional[_Union[SpecimenState, str]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_by: _Optional[str] = ..., progress: _Optional[_Union[CellCounts, _Mapping]] = ..., counts: _Optional[_Iterable[_Union[ClassCount, _Mapping]]] = ..., min_cells: _Optional[int] = ..., reference_source: _Optional[str] = ..., label_shift: _Optional[_Iterable[_Union[ClassProbability, _Mapping]]] = ..., review_list: _Optional[_Iterable[str]] = ..., limitations: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., service_version: _Optional[str] = ..., computed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signature: _Optional[_Union[Signature, _Mapping]] = ..., cells: _Optional[_Iterable[_Union[Cell, _Mapping]]] = ..., disclaimer: _Optional[str] = ..., device_state: _Optional[_Union[DeviceState, str]] = ..., released_errors: _Optional[_Union[ReleasedErrors, _Mapping]] = ..., etag: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[SpecimenField, _Mapping]]] = ..., cells_per_field: _Optional[float] = ..., assignee: _Optional[str] = ..., comments: _Optional[_Iterable[_Union[Comment, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model", "classes", "input_size", "profiles", "report_writers", "disclaimer", "signatures", "service_version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    INPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    REPORT_WRITERS_FIELD_NUMBER: _ClassVar[int]
    DISCLAIMER_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    SERVICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    model: Model
    classes: _containers.RepeatedScalarFieldContainer[CellClass]
    input_size: int
    profiles: _containers.RepeatedCompositeFieldContainer[Profile]
    report_writers: _containers.RepeatedCompositeFieldContainer[ReportWriter]
    disclaimer: str
    signatures: _containers.RepeatedCompositeFieldContainer[ModelSignature]
    service_version: str
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., classes: _Optional[_Iterable[_Union[CellClass, str]]] = ..., input_size: _Optional[int] = ..., profiles: _Optional[_Iterable[_Union[Profile, _Mapping]]] = ..., report_writers: _Optional[_Iterable[_Union[ReportWriter, _Mapping]]] = ..., disclaimer: _Optional[str] = ..., signatures: _Optional[_Iterable[_Union[ModelSignature, _Mapping]]] = ..., service_version: _Optional[str] = ...) -> None: ...

class ModelSignature(_message.Message):
    __slots__ = ("name", "outputs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    outputs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., outputs: _Optional[_Iterable[str]] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("name", "description", "is_default", "preprocessing", "crop_scale", "reinhard", "tta", "adaptive_margin", "routing", "temperature", "review_threshold", "review_margin", "max_energy", "prior", "training_prior", "max_not_wbc", "device", "um_per_px")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_FIELD_NUMBER: _ClassVar[int]
    CROP_SCALE_FIELD_NUMBER: _ClassVar[int]
    REINHARD_FIELD_NUMBER: _ClassVar[int]
    TTA_FIELD_NUMBER: _ClassVar[int]
    ADAPTIVE_MARGIN_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    REVIEW_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    REVIEW_MARGIN_FIELD_NUMBER: _ClassVar[int]
    MAX_ENERGY_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    TRAINING_PRIOR_FIELD_NUMBER: _ClassVar[int]
    MAX_NOT_WBC_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    UM_PER_PX_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    is_default: bool
    preprocessing: str
    crop_scale: float
    reinhard: bool
    tta: TestTimeAugmentation
    adaptive_margin: float
    routing: Routing
    temperature: float
    review_threshold: float
    review_margin: float
    max_energy: float
    prior: _containers.RepeatedScalarFieldContainer[float]
    training_prior: _containers.RepeatedScalarFieldContainer[float]
    max_not_wbc: float
    device: DeviceState
    um_per_px: float
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., is_default: _Optional[bool] = ..., preprocessing: _Optional[str] = ..., crop_scale: _Optional[float] = ..., reinhard: _Optional[bool] = ..., tta: _Optional[_Union[TestTimeAugmentation, str]] = ..., adaptive_margin: _Optional[float] = ..., routing: _Optional[_Union[Routing, str]] = ..., temperature: _Optional[float] = ..., review_threshold: _Optional[float] = ..., review_margin: _Optional[float] = ..., max_energy: _Optional[float] = ..., prior: _Optional[_Iterable[float]] = ..., training_prior: _Optional[_Iterable[float]] = ..., max_not_wbc: _Optional[float] = ..., device: _Optional[_Union[DeviceState, str]] = ..., um_per_px: _Optional[float] = ...) -> None: ...

class ReportWriter(_message.Message):
    __slots__ = ("name", "model", "sends_to")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SENDS_TO_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    sends_to: str
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., sends_to: _Optional[str] = ...) -> None: ...

class LabelledImage(_message.Message):
    __slots__ = ("image", "label", "specimen", "hold_out")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SPECIMEN_FIELD_NUMBER: _ClassVar[int]
    HOLD_OUT_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    label: CellClass
    specimen: str
    hold_out: bool
    def __init__(self, image: _Optional[bytes] = ..., label: _Optional[_Union[CellClass, str]] = ..., specimen: _Optional[str] = ..., hold_out: _Optional[bool] = ...) -> None: ...

class Adaptation(_message.Message):
    __slots__ = ("profile", "images", "signed", "hold_out", "cells_of")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    HOLD_OUT_FIELD_NUMBER: _ClassVar[int]
    CELLS_OF_FIELD_NUMBER: _ClassVar[int]
    profile: str
    images: int
    signed: _containers.RepeatedScalarFieldContainer[str]
    hold_out: _containers.RepeatedScalarFieldContainer[str]
    cells_of: int
    def __init__(self, profile: _Optional[str] = ..., images: _Optional[int] = ..., signed: _Optional[_Iterable[str]] = ..., hold_out: _Optional[_Iterable[str]] = ..., cells_of: _Optional[int] = ...) -> None: ...

class LearnAdaptationRequest(_message.Message):
    __slots__ = ("adaptation", "image")
    ADAPTATION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    adaptation: Adaptation
    image: LabelledImage
    def __init__(self, adaptation: _Optional[_Union[Adaptation, _Mapping]] = ..., image: _Optional[_Union[LabelledImage, _Mapping]] = ...) -> None: ...

class LearnAdaptationResponse(_message.Message):
    __slots__ = ("head", "wrong", "likely_label_errors", "failed", "disclaimer")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    WRONG_FIELD_NUMBER: _ClassVar[int]
    LIKELY_LABEL_ERRORS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    DISCLAIMER_FIELD_NUMBER: _ClassVar[int]
    head: SiteHead
    wrong: _containers.RepeatedScalarFieldContainer[str]
    likely_label_errors: _containers.RepeatedScalarFieldContainer[str]
    failed: _containers.RepeatedCompositeFieldContainer[FailedCell]
    disclaimer: str
    def __init__(self, head: _Optional[_Union[SiteHead, _Mapping]] = ..., wrong: _Optional[_Iterable[str]] = ..., likely_label_errors: _Optional[_Iterable[str]] = ..., failed: _Optional[_Iterable[_Union[FailedCell, _Mapping]]] = ..., disclaimer: _Optional[str] = ...) -> None: ...

class FailedCell(_message.Message):
    __slots__ = ("name", "problem", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    problem: str
    detail: str
    def __init__(self, name: _Optional[str] = ..., problem: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Suggestion(_message.Message):
    __slots__ = ("profile", "images", "wanted")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    profile: str
    images: int
    wanted: int
    def __init__(self, profile: _Optional[str] = ..., images: _Optional[int] = ..., wanted: _Optional[int] = ...) -> None: ...

class SuggestCellsRequest(_message.Message):
    __slots__ = ("suggestion", "image")
    SUGGESTION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    suggestion: Suggestion
    image: LabelledImage
    def __init__(self, suggestion: _Optional[_Union[Suggestion, _Mapping]] = ..., image: _Optional[_Union[LabelledImage, _Mapping]] = ...) -> None: ...

class SuggestCellsResponse(_message.Message):
    __slots__ = ("cells", "failed", "disclaimer")
    CELLS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    DISCLAIMER_FIELD_NUMBER: _ClassVar[int]
    cells: _containers.RepeatedCompositeFieldContainer[SuggestedCell]
    failed: _containers.RepeatedCompositeFieldContainer[FailedCell]
    disclaimer: str
    def __init__(self, cells: _Optional[_Iterable[_Union[SuggestedCell, _Mapping]]] = ..., failed: _Optional[_Iterable[_Union[FailedCell, _Mapping]]] = ..., disclaimer: _Optional[str] = ...) -> None: ...

class SuggestedCell(_message.Message):
    __slots__ = ("image", "looks_like")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LOOKS_LIKE_FIELD_NUMBER: _ClassVar[int]
    image: int
    looks_like: CellClass
    def __init__(self, image: _Optional[int] = ..., looks_like: _Optional[_Union[CellClass, str]] = ...) -> None: ...

class ListAdaptationsRequest(_message.Message):
    __slots__ = ("profile",)
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    profile: str
    def __init__(self, profile: _Optional[str] = ...) -> None: ...

class ListAdaptationsResponse(_message.Message):
    __slots__ = ("heads",)
    HEADS_FIELD_NUMBER: _ClassVar[int]
    heads: SiteHeads
    def __init__(self, heads: _Optional[_Union[SiteHeads, _Mapping]] = ...) -> None: ...

class ActivateAdaptationRequest(_message.Message):
    __slots__ = ("profile", "number", "reason")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    profile: str
    number: int
    reason: str
    def __init__(self, profile: _Optional[str] = ..., number: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ActivateAdaptationResponse(_message.Message):
    __slots__ = ("heads",)
    HEADS_FIELD_NUMBER: _ClassVar[int]
    heads: SiteHeads
    def __init__(self, heads: _Optional[_Union[SiteHeads, _Mapping]] = ...) -> None: ...

class CanaryAdaptationRequest(_message.Message):
    __slots__ = ("profile", "number", "share", "reason")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    profile: str
    number: int
    share: float
    reason: str
    def __init__(self, profile: _Optional[str] = ..., number: _Optional[int] = ..., share: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class CanaryAdaptationResponse(_message.Message):
    __slots__ = ("heads",)
    HEADS_FIELD_NUMBER: _ClassVar[int]
    heads: SiteHeads
    def __init__(self, heads: _Optional[_Union[SiteHeads, _Mapping]] = ...) -> None: ...

class ShadowAdaptationRequest(_message.Message):
    __slots__ = ("profile", "number", "reason")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    profile: str
    number: int
    reason: str
    def __init__(self, profile: _Optional[str] = ..., number: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ShadowAdaptationResponse(_message.Message):
    __slots__ = ("heads",)
    HEADS_FIELD_NUMBER: _ClassVar[int]
    heads: SiteHeads
    def __init__(self, heads: _Optional[_Union[SiteHeads, _Mapping]] = ...) -> None: ...

class RollBackAdaptationRequest(_message.Message):
    __slots__ = ("profile", "reason")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    profile: str
    reason: str
    def __init__(self, profile: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RollBackAdaptationResponse(_message.Message):
    __slots__ = ("heads",)
    HEADS_FIELD_NUMBER: _ClassVar[int]
    heads: SiteHeads
    def __init__(self, heads: _Optional[_Union[SiteHeads, _Mapping]] = ...) -> None: ...

class SiteHeads(_message.Message):
    __slots__ = ("profile", "active", "versions", "trail", "disclaimer", "unused", "broken", "shadow", "canary")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    TRAIL_FIELD_NUMBER: _ClassVar[int]
    DISCLAIMER_FIELD_NUMBER: _ClassVar[int]
    UNUSED_FIELD_NUMBER: _ClassVar[int]
    BROKEN_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    profile: str
    active: str
    versions: _containers.RepeatedCompositeFieldContainer[SiteHead]
    trail: _containers.RepeatedCompositeFieldContainer[HeadAct]
    disclaimer: str
    unused: str
    broken: _containers.RepeatedScalarFieldContainer[str]
    shadow: HeadShadow
    canary: HeadCanary
    def __init__(self, profile: _Optional[str] = ..., active: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[SiteHead, _Mapping]]] = ..., trail: _Optional[_Iterable[_Union[HeadAct, _Mapping]]] = ..., disclaimer: _Optional[str] = ..., unused: _Optional[str] = ..., broken: _Optional[_Iterable[str]] = ..., shadow: _Optional[_Union[HeadShadow, _Mapping]] = ..., canary: _Optional[_Union[HeadCanary, _Mapping]] = ...) -> None: ...

class HeadCanary(_message.Message):
    __slots__ = ("name", "share", "unused", "answers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    UNUSED_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    share: float
    unused: str
    answers: _containers.RepeatedCompositeFieldContainer[HeadAnswers]
    def __init__(self, name: _Optional[str] = ..., share: _Optional[float] = ..., unused: _Optional[str] = ..., answers: _Optional[_Iterable[_Union[HeadAnswers, _Mapping]]] = ...) -> None: ...

class HeadAnswers(_message.Message):
    __slots__ = ("head", "images", "for_review")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FOR_REVIEW_FIELD_NUMBER: _ClassVar[int]
    head: str
    images: int
    for_review: int
    def __init__(self, head: _Optional[str] = ..., images: _Optional[int] = ..., for_review: _Optional[int] = ...) -> None: ...

class HeadShadow(_message.Message):
    __slots__ = ("name", "unused", "images", "alike", "otherwise")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNUSED_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    ALIKE_FIELD_NUMBER: _ClassVar[int]
    OTHERWISE_FIELD_NUMBER: _ClassVar[int]
    name: str
    unused: str
    images: int
    alike: int
    otherwise: _containers.RepeatedCompositeFieldContainer[ShadowAnswers]
    def __init__(self, name: _Optional[str] = ..., unused: _Optional[str] = ..., images: _Optional[int] = ..., alike: _Optional[int] = ..., otherwise: _Optional[_Iterable[_Union[ShadowAnswers, _Mapping]]] = ...) -> None: ...

class ShadowAnswers(_message.Message):
    __slots__ = ("answered", "shadow", "images")
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    answered: CellClass
    shadow: CellClass
    images: int
    def __init__(self, answered: _Optional[_Union[CellClass, str]] = ..., shadow: _Optional[_Union[CellClass, str]] = ..., images: _Optional[int] = ...) -> None: ...

class SiteHead(_message.Message):
    __slots__ = ("name", "number", "sha256", "model", "made_at", "made_by", "decision", "why", "is_active", "trust", "cells_kept")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    MADE_BY_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    CELLS_KEPT_FIELD_NUMBER: _ClassVar[int]
    name: str
    number: int
    sha256: str
    model: Model
    made_at: _timestamp_pb2.Timestamp
    made_by: str
    decision: str
    why: str
    is_active: bool
    trust: HeadTrust
    cells_kept: bool
    def __init__(self, name: _Optional[str] = ..., number: _Optional[int] = ..., sha256: _Optional[str] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., made_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., made_by: _Optional[str] = ..., decision: _Optional[str] = ..., why: _Optional[str] = ..., is_active: _Optional[bool] = ..., trust: _Optional[_Union[HeadTrust, _Mapping]] = ..., cells_kept: _Optional[bool] = ...) -> None: ...

class HeadTrust(_message.Message):
    __slots__ = ("counts", "kept", "left_out", "hold_out", "curve", "ten_more")
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    HOLD_OUT_FIELD_NUMBER: _ClassVar[int]
    CURVE_FIELD_NUMBER: _ClassVar[int]
    TEN_MORE_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    kept: _containers.RepeatedScalarFieldContainer[str]
    left_out: HeadComparison
    hold_out: HeadComparison
    curve: _containers.RepeatedCompositeFieldContainer[CurvePoint]
    ten_more: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, counts: _Optional[_Iterable[int]] = ..., kept: _Optional[_Iterable[str]] = ..., left_out: _Optional[_Union[HeadComparison, _Mapping]] = ..., hold_out: _Optional[_Union[HeadComparison, _Mapping]] = ..., curve: _Optional[_Iterable[_Union[CurvePoint, _Mapping]]] = ..., ten_more: _Optional[_Iterable[float]] = ...) -> None: ...

class HeadComparison(_message.Message):
    __slots__ = ("cells", "groups", "before", "after", "after_interval", "gain", "gain_interval", "recalls")
    CELLS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    AFTER_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    GAIN_FIELD_NUMBER: _ClassVar[int]
    GAIN_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    RECALLS_FIELD_NUMBER: _ClassVar[int]
    cells: int
    groups: int
    before: float
    after: float
    after_interval: _containers.RepeatedScalarFieldContainer[float]
    gain: float
    gain_interval: _containers.RepeatedScalarFieldContainer[float]
    recalls: _containers.RepeatedCompositeFieldContainer[ClassRecall]
    def __init__(self, cells: _Optional[int] = ..., groups: _Optional[int] = ..., before: _Optional[float] = ..., after: _Optional[float] = ..., after_interval: _Optional[_Iterable[float]] = ..., gain: _Optional[float] = ..., gain_interval: _Optional[_Iterable[float]] = ..., recalls: _Optional[_Iterable[_Union[ClassRecall, _Mapping]]] = ...) -> None: ...

class ClassRecall(_message.Message):
    __slots__ = ("cell_class", "before", "after")
    CELL_CLASS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    cell_class: CellClass
    before: float
    after: float
    def __init__(self, cell_class: _Optional[_Union[CellClass, str]] = ..., before: _Optional[float] = ..., after: _Optional[float] = ...) -> None: ...

class CurvePoint(_message.Message):
    __slots__ = ("cells", "balanced_accuracy")
    CELLS_FIELD_NUMBER: _ClassVar[int]
    BALANCED_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    cells: int
    balanced_accuracy: float
    def __init__(self, cells: _Optional[int] = ..., balanced_accuracy: _Optional[float] = ...) -> None: ...

class HeadAct(_message.Message):
    __slots__ = ("at", "who", "act", "head", "sha256", "reason", "share")
    AT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    ACT_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    who: str
    act: str
    head: str
    sha256: str
    reason: str
    share: float
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., who: _Optional[str] = ..., act: _Optional[str] = ..., head: _Optional[str] = ..., sha256: _Optional[str] = ..., reason: _Optional[str] = ..., share: _Optional[float] = ...) -> None: ...
