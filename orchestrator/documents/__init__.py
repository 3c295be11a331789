"""Results as typed documents: what JSON, gRPC, the client and the commands tell of an analysis and of a
differential.

:mod:`~orchestrator.documents.fields` is the table of a result's fields. The documents take them from the
value types by their names, and every other format is held to the table by
``tests/contract/test_every_format_tells_the_result.py``.
"""
