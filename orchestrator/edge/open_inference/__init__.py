"""The Open Inference Protocol, version 2, under ``/v2``: tensors and images in, tensors out."""
