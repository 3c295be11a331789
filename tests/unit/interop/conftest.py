from collections.abc import Callable

import pytest

from orchestrator.emulator.fhir_schema import schema_check
from tests.fhir_r4_schema import PACKAGE, fhir_r4_schema


@pytest.fixture(scope="session")
def problems_by_schema() -> Callable[[object], list[str]]:
    """All that is wrong with a resource by the JSON schema of FHIR R4."""
    path = fhir_r4_schema()
    if path is None:
        pytest.skip(f"no schema of FHIR R4: npm cannot fetch {PACKAGE} (set WBC_FHIR_R4_SCHEMA to a file)")
    return schema_check(path)
