"""The package ``wbc`` of the protos."""
