"""The service's own resources over HTTP: analyses, differentials, device audits, and their formats.

What comes in: requests within their bounds, from callers who may ask. What goes out: typed documents.
"""
