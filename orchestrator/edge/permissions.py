"""What each route demands of its caller, in one table; a route that is not in it is for nobody.

Routes are named as the router knows them, so that there is one opinion on which request belongs to which. Of
the roles of a row one is enough. ``OPEN`` rows are for everybody: probes, and the page and the documentation,
which hold nothing of anybody and are read before there is a credential to show. A HEAD arrives here as the
GET that it stands for; see :mod:`~orchestrator.edge.head_requests`.
"""

from collections.abc import Mapping
from typing import Final

from orchestrator.edge.security import Role

Need = tuple[Role, ...]

OPEN: Final[Need] = ()
ANALYSE: Final[Need] = ("analyse",)
REVIEW: Final[Need] = ("review",)
SIGN: Final[Need] = ("sign",)
ADMIN: Final[Need] = ("admin",)
READ: Final[Need] = ("analyse", "review", "sign")

_ONE: Final = "/v1/differentials/{differential_id}"
_AUDIT: Final = "/v1/device-audits/{audit_name}"
_CELL: Final = f"{_ONE}/cells/{{cell_id}}"

HTTP_PERMISSIONS: Final[Mapping[tuple[str, str], Need]] = {
    ("GET", "/livez"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/"): OPEN,
    ("GET", "/web/{name}"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/metrics"): OPEN,  # ADMIN where WBC_SECURITY__PROTECT_METRICS says so
    ("POST", "/predict"): ANALYSE,
    ("POST", "/v1/analyses"): ANALYSE,
    ("GET", "/v1/model"): READ,
    ("POST", "/v1/differentials"): ANALYSE,
    ("GET", "/v1/differentials"): READ,
    ("GET", _ONE): READ,
    ("GET", f"{_ONE}/events"): READ,
    ("GET", f"{_CELL}/image"): READ,
    ("GET", f"{_ONE}/export.csv"): READ,
    ("GET", f"{_ONE}/fhir"): READ,
    ("GET", f"{_ONE}/hl7"): READ,
    ("GET", f"{_ONE}/dicom"): READ,
    ("POST", f"{_ONE}/cancel"): ANALYSE,
    ("POST", f"{_CELL}/decision"): REVIEW,
    ("DELETE", f"{_CELL}/decision"): REVIEW,
    ("POST", f"{_ONE}/sign"): SIGN,
    ("GET", f"{_ONE}/audit"): ADMIN,
    ("GET", "/v1/device-audits"): READ,
    ("GET", _AUDIT): READ,
    ("GET", f"{_AUDIT}/cells/{{image_sha256}}/image"): READ,
    ("PUT", f"{_AUDIT}/cells/{{image_sha256}}/label"): REVIEW,
    ("PUT", f"{_AUDIT}/verdict"): SIGN,
    # The Open Inference Protocol, version 2. Its health is a probe.
    ("GET", "/v2/health/live"): OPEN,
    ("GET", "/v2/health/ready"): OPEN,
    ("GET", "/v2"): READ,
    ("GET", "/v2/"): READ,
    ("GET", "/v2/models/{model_name}"): READ,
    ("GET", "/v2/models/{model_name}/ready"): OPEN,
    ("POST", "/v2/models/{model_name}/infer"): ANALYSE,
    ("GET", "/v2/models/{model_name}/versions/{model_version}"): READ,
    ("GET", "/v2/models/{model_name}/versions/{model_version}/ready"): OPEN,
    ("POST", "/v2/models/{model_name}/versions/{model_version}/infer"): ANALYSE,
}

BOUND_THEIR_BODIES: Final = frozenset(
    {
        "/predict",
        "/v1/analyses",
        "/v1/differentials",
        "/v2/models/{model_name}/infer",
        "/v2/models/{model_name}/versions/{model_version}/infer",
    }
)
"""Routes that count the bytes of an upload themselves; every other body is small, or refused."""

GRPC_PERMISSIONS: Final[Mapping[str, Need]] = {
    "Analyze": ANALYSE,
    "AnalyzeStream": ANALYSE,
    "CreateDifferential": ANALYSE,
    "GetDifferential": READ,
    "GetModel": READ,
}
"""By the name of the method, of the service of ``wbc.v1``. Health and reflection are for everybody."""
