"""Version 1 of the protos: ``wbc.proto``, its messages and the stub of its service."""
