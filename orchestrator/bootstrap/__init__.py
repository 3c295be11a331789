"""The composition root: what the settings say, as objects. Nothing else names an adapter and its settings
together.

:mod:`~orchestrator.bootstrap.services` assembles what analyses an image,
:mod:`~orchestrator.bootstrap.process` the process that serves it; the other modules assemble one part each.
Tests differ from production only in arguments.
"""
