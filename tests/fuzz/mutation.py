"""Changes of a file that fuzzers make: pieces overwritten, taken out, repeated, put in; the end cut off."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from hypothesis import strategies as st

ProblemType = Literal["overwrite", "insert", "remove", "repeat", "truncate", "splice"]
KINDS: Final = get_args(ProblemType)

TELLING: Final = tuple(
    bytes.fromhex(text)
    for text in (
        "00", "ff", "7f", "80", "0000", "ffff", "7fff", "00000000", "ffffffff", "7fffffff", "ffffff7f",
        "80000000", "00000080", "01000000", "00000001", "0d0a", "0d0a0d0a", "22", "5b", "5d", "7b", "2d2d",
        "504b0304", "ffd8ff", "ffd9", "ffda", "7f800000", "0000807f",
    )
)  # fmt: skip
"""Numbers at the edges of their types, and bytes that mean something to a format."""

MAX_BYTES: Final = 200_000


@dataclass(frozen=True)
class Change:
    """``place`` and ``length`` are in thousandths of what is there, and so right for every seed."""

    kind: ProblemType
    place: int
    length: int
    data: bytes


def mutated(seed: bytes, changes: Sequence[Change], other: bytes = b"") -> bytes:
    """The seed after the changes, one after the other; ``other`` is what is spliced in."""
    changed = bytearray(seed)
    for change in changes:
        start = change.place * len(changed) // 1000
        stop = start + max(1, change.length * (len(changed) - start) // 1000)
        if change.kind == "overwrite":
            changed[start : start + len(change.data)] = change.data
        elif change.kind == "insert":
            changed[start:start] = change.data
        elif change.kind == "remove":
            del changed[start:stop]
        elif change.kind == "repeat":
            changed[start:start] = changed[start:stop] * min(4, len(change.data) + 1)
        elif change.kind == "truncate":
            del changed[start:]
        else:
            changed[start:] = other[start : start + MAX_BYTES]
        del changed[MAX_BYTES:]
    return bytes(changed)


def mutations(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """For Hypothesis: seeds, changed up to six times."""
    changes = st.builds(
        Change,
        kind=st.sampled_from(KINDS),
        place=st.integers(0, 1000),
        length=st.integers(0, 1000),
        data=st.sampled_from(TELLING) | st.binary(max_size=16),
    )
    chosen = st.sampled_from(seeds)
    return st.builds(mutated, chosen, st.lists(changes, max_size=6), chosen)


def drawn(seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """One of the seeds, changed up to six times."""
    changes = [
        Change(
            rng.choice(KINDS),
            rng.randrange(1001),
            rng.choice((0, 1, 10, rng.randrange(1001))),
            rng.choice(TELLING) if rng.random() < 0.5 else rng.randbytes(rng.randrange(17)),
        )
        for _ in range(rng.randrange(7))
    ]
    return mutated(rng.choice(seeds), changes, rng.choice(seeds))
