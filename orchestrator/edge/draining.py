"""Whether this process is about to leave."""

from orchestrator.observability.metrics import DRAINING


class Draining:
    """A flag that is set once, by the signal to stop, and seen by all edges.

    From then on readiness is denied, so that load balancers send no more requests, and every answer ends its
    connection, so that a client with a connection of long life goes to another process. Requests are answered
    as before.
    """

    def __init__(self) -> None:
        self._begun = False
        DRAINING.set(0)

    @property
    def begun(self) -> bool:
        return self._begun

    def begin(self) -> None:
        """Say that this process leaves; again without effect. Safe in a signal handler."""
        self._begun = True
        DRAINING.set(1)
