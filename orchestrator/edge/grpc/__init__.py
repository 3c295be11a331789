"""The gRPC edge ``wbc.v1``: the same analyses and specimens, in messages; knows nothing of HTTP's framework.

What comes in: calls on a port of its own, with its own bounds. What goes out: messages, or statuses with
details.
"""
