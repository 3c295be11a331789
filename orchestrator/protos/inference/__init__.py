"""The package ``inference`` of the protos: the Open Inference Protocol's."""
