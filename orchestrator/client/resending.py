"""What of a stream has been sent and not been answered: so much, and no more, is kept to be sent again."""


class Resending:
    """Numbers images and remembers those without an answer, at most ``window``. Not safe for threads."""

    def __init__(self, window: int) -> None:
        if window < 1:
            raise ValueError(f"window: expected at least 1, received {window}")
        self._window = window
        self._unanswered: dict[int, bytes] = {}
        self._sent: set[int] = set()
        self._next = 0

    def __len__(self) -> int:
        return len(self._unanswered)

    @property
    def full(self) -> bool:
        """Whether an answer must come before another image may be added."""
        return len(self._unanswered) >= self._window

    def add(self, image: bytes) -> int:
        """Take an image; its number. Raises ``RuntimeError`` where there is no room."""
        if self.full:
            raise RuntimeError(f"{self._window} images wait for their answers")
        number, self._next = self._next, self._next + 1
        self._unanswered[number] = image
        return number

    def take_unsent(self) -> tuple[int, bytes] | None:
        """The first image not yet sent on this connection, from now on counted as sent; None for none."""
        for number, image in self._unanswered.items():
            if number not in self._sent:
                self._sent.add(number)
                return number, image
        return None

    def answered(self, number: int) -> bool:
        """Note an answer; False where there was one already, or the number is not known."""
        self._sent.discard(number)
        return self._unanswered.pop(number, None) is not None

    def begin_again(self) -> None:
        """On a new connection everything without an answer is to be sent."""
        self._sent.clear()
