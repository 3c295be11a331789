from tests.export_fixture import small_exported_model

__all__ = ["small_exported_model"]
