import pytest

from tests.export_fixture import small_exported_model
from tests.synthetic_cells import cell_file

__all__ = ["small_exported_model"]


@pytest.fixture(scope="session")
def cell() -> bytes:
    """The image of one cell, for tests that any image would do for."""
    return cell_file()
