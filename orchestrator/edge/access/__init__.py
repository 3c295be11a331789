"""Who asks, what that caller may do and how often: the same rules for every edge.

What comes in: a credential and an address. What goes out: a principal, or a refusal. Nothing here knows a
protocol's framework.
"""
