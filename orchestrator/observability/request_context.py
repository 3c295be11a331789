"""The name under which one request is spoken of: in its answer, in logs and in the exemplars of metrics.

A context variable, so that every task and worker thread of a request knows it. It lies at the bottom because
everything may need it; who may choose a name, and which names are sane, is
:mod:`orchestrator.edge.request_identity`'s.
"""

from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The identity of the request that this code runs for; empty outside of one."""
    return _current.get()


def set_request_id(request_id: str) -> None:
    """Let what runs from here on, in this context, run for the request of this name."""
    _current.set(request_id)
