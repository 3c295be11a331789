"""A differential in the formats that hospitals read, and the ways by which it gets there.

Blind to stores, edges and settings: what comes in are the types of :mod:`orchestrator.specimen`.
"""
