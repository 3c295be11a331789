"""A site's own linear head over the served model's features: learnt from labelled cells, judged on cells left
out, kept as one signed file, switched on by a person. Plain values in, plain values out; numpy alone."""
