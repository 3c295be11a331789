"""How far a run has come, and what its patience has seen: all that must outlive a kill.

Keras' own EarlyStopping and ReduceLROnPlateau count in attributes that start anew with every ``fit``, so
a resumed run would wait again for what it had waited for already. Here the counts are data in a file.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

Score: TypeAlias = tuple[float, float]
"""Balanced accuracy, and the negative loss, which decides between equals: greater is better."""

NO_SCORE: Final[Score] = (-1.0, 0.0)


@dataclass(slots=True)
class RunState:
    """``phase`` phases are done, and ``epoch`` epochs of the next one; ``epochs_done`` counts them all.

    ``best`` was reached after ``best_at`` epochs of the run; the other fields belong to the current phase.
    ``finished`` says why there is nothing left to do: ``completed``, or ``focus`` where the model looked
    at the background.
    """

    phase: int = 0
    epoch: int = 0
    epochs_done: int = 0
    best: Score = NO_SCORE
    best_at: int = 0
    phase_best: Score = NO_SCORE
    waited: int = 0
    waited_at_rate: int = 0
    low_focus_checks: int = 0
    finished: str = ""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "RunState":
        """Take up what :meth:`to_json` gave."""
        scores = {name: (content[name][0], content[name][1]) for name in ("best", "phase_best")}
        return cls(**(content | scores))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def begin_phase(self, *, comparable: bool) -> None:
        """Forget what belongs to the phase before, and its best where the image size was another.

        Scores at another size say nothing about the size that is served.
        """
        self.epoch = self.waited = self.waited_at_rate = 0
        self.phase_best = NO_SCORE
        if not comparable:
            self.best, self.best_at = NO_SCORE, 0

    def record(self, score: Score, *, keep: bool = False) -> bool:
        """Count an epoch and its score; return whether it is the best so far, or ``keep`` makes it so."""
        self.epoch += 1
        self.epochs_done += 1
        if score > self.phase_best:
            self.phase_best = score
            self.waited = self.waited_at_rate = 0
        else:
            self.waited += 1
            self.waited_at_rate += 1
        if keep or score > self.best:
            self.best, self.best_at = score, self.epochs_done
            return True
        return False

    def is_out_of_patience(self, patience: int) -> bool:
        """Whether the phase has gone ``patience`` epochs without a better score; never where 0."""
        return 0 < patience <= self.waited

    def is_on_plateau(self, patience: int) -> bool:
        """Whether the learning rate is due to fall; if so, the count starts anew."""
        if self.waited_at_rate < patience:
            return False
        self.waited_at_rate = 0
        return True

    def end_phase(self) -> None:
        """Move on to the next phase."""
        self.phase += 1
        self.epoch = 0
