from tests.export_fixture import exported_model, small_exported_model

__all__ = ["exported_model", "small_exported_model"]
