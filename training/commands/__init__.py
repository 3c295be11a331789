"""The sub-commands of ``wbc-train``: options and help texts, one module each.

A command imports what it runs inside its function, so that ``--help`` does not wait for TensorFlow.
"""
