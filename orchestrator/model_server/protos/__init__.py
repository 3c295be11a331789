"""The part of TensorFlow Serving's wire format that the client speaks, and its generated messages.

The names are our own (package ``wbc.model_server.wire``), so that the official descriptors can be loaded
beside them; a message on the wire carries field numbers and no names. ``make protos`` generates.
"""
