"""The wire format of the gRPC edge: a buf module, and what ``make protos`` generates from it."""
