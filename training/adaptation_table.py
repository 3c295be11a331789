"""What ten labelled cells of each class are worth on a microscope that a network never saw.

``python -m training.adaptation_table --cells raabin=RAABIN.npz ...`` prints the tables of docs/accuracy.md:
by the number of labelled cells of each class, for the first natural cells, how many decisions a suggestion
saves, and how often a recommended head did harm, also by stricter criteria than that of the trust view. An
archive has, of V views of N cells as a network that never saw that device sees them, ``features``
``[N, V, F]``, ``logits`` ``[N, V, 5]``, ``labels`` ``[N]``, ``groups`` (slide, else cell), ``cells`` (what is
one cell, though in several images) and ``ids``; ``--collect OUT.npz --model-path VERSION --data-root ROOT
--split TestB`` makes one of an exported model. ``--by-cell DEVICE`` divides its cells, and not its slides.

A draw divides the groups into those to learn from and those to be scored on, so that ten cells of each class
or more are left to score; a class too small for that is not scored. "Of each class n" means as many of n as
lie in the groups to learn from.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import NUM_CLASSES
from orchestrator.site_head.choosing import suggest
from orchestrator.site_head.examples import MIN_CELLS, Examples
from orchestrator.site_head.learning import applied, learn
from orchestrator.site_head.trust import accuracies_drawn, compare, decide

PER_CLASS: Final = (5, 10, 20)
NATURAL: Final = (100, 200)
NATURAL_SHARES: Final = (0.01, 0.03, 0.28, 0.06, 0.62)
LEFT: Final = 10
"""Distinct cells of a class that must remain to be scored."""

DECISIONS: Final = (20, 40, 60, 80)
POOL: Final = 200
STEP: Final = 10
"""Decisions between two looks of the suggestion."""

CRITERIA: Final = ((0.025, 0.0), (0.0125, 0.0), (0.005, 0.0), (0.025, 0.01), (0.025, 0.02))
"""A quantile of the gain on groups left out, and what it must be over; the first is the trust view's."""

DIVISIONS: Final = 200
SUGGESTION_SHARE: Final = 5
"""Of so many draws one is spent on suggestions, which learn sixteen times each."""
SOURCE: Final = ("features", "logits", "labels", "groups", "cells", "ids")

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Seen:
    """Cells of one device as a network that never saw it sees them; ``cells`` ``[N]`` tells distinct ones."""

    examples: Examples
    cells: NDArray[np.str_]

    @classmethod
    def read(cls, path: Path) -> "Seen":
        """Of an archive. Raises :class:`~orchestrator.errors.ConfigurationError`."""
        try:
            with np.load(path) as kept:
                found = {name: kept[name] for name in SOURCE}
        except (OSError, KeyError, ValueError) as error:
            raise ConfigurationError(
                f"{path}: expected an archive of {', '.join(SOURCE)} ({error})"
            ) from error
        if found["features"].ndim == 2:  # one view of each
            found |= {name: found[name][:, np.newaxis] for name in ("features", "logits")}
        examples = Examples(
            found["features"].astype(np.float32),
            found["logits"].astype(np.float64),
            found["labels"].astype(np.intp),
            tuple(str(group) for group in found["groups"]),
            tuple(str(one) for one in found["ids"]),
        )
        return cls(examples, found["cells"].astype(str))

    def by_cell(self) -> "Seen":
        """With each cell as a group of its own, whatever slides say."""
        return Seen(replace(self.examples, groups=tuple(self.cells.tolist())), self.cells)

    def distinct(self, chosen: NDArray[np.bool_]) -> int:
        """Cells among those that are chosen."""
        return len(np.unique(self.cells[chosen]))

    def scored(self) -> list[int]:
        """Classes with enough cells to learn from some and score the others."""
        labels = self.examples.labels
        return [c for c in range(NUM_CLASSES) if self.distinct(labels == c) >= LEFT + 2]

    def balanced(
        self, logits: NDArray[np.float64], scored_on: NDArray[np.bool_], classes: list[int]
    ) -> float:
        """Balanced accuracy; every cell counts once, in however many images it is."""
        labels = self.examples.labels
        _, cell, images = np.unique(self.cells, return_inverse=True, return_counts=True)
        weight = 1 / images[cell]
        right = logits.argmax(axis=1) == labels
        return float(
            np.mean(
                [
                    np.average(right[of], weights=weight[of])
                    for c in classes
                    for of in [scored_on & (labels == c)]
                ]
            )
        )


@dataclass(frozen=True, slots=True)
class Draw:
    """What one draw came to: balanced accuracies without a head and with it, on groups not learnt from, and
    by which of :data:`CRITERIA` it is recommended."""

    before: float
    after: float
    meets: tuple[bool, ...]
    learnt: int

    @property
    def recommended(self) -> bool:
        """By the trust view."""
        return self.meets[0]


def divide(seen: Seen, wanted: Sequence[int], rng: np.random.Generator) -> tuple[Places, NDArray[np.bool_]]:
    """Cells to learn from, ``wanted`` of each class where there are as many, and a mask of those to score."""
    labels = seen.examples.labels
    names, group = np.unique(seen.examples.groups, return_inverse=True)
    classes = seen.scored()
    best: tuple[int, NDArray[np.bool_]] | None = None
    for _ in range(DIVISIONS):
        learnt_from = (rng.random(len(names)) < rng.uniform(0.15, 0.8))[group]
        if any(seen.distinct((labels == c) & ~learnt_from) < LEFT for c in classes):
            continue
        had = sum(min(seen.distinct((labels == c) & learnt_from), wanted[c]) for c in classes)
        if best is None or had > best[0]:
            best = had, learnt_from
        if had >= sum(wanted[c] for c in classes):
            break
    if best is None:
        raise ConfigurationError(f"no division of the groups leaves {LEFT} cells of each class")
    learnt_from = best[1]
    chosen: list[int] = []
    for c in range(NUM_CLASSES):
        places = rng.permutation(np.flatnonzero((labels == c) & learnt_from))
        _, first = np.unique(seen.cells[places], return_index=True)
        chosen += places[np.sort(first)][: wanted[c]].tolist()
    return np.array(sorted(chosen), np.intp), ~learnt_from


def draw(seen: Seen, wanted: Sequence[int], seed: int) -> Draw:
    """Learn from some groups and score on the others."""
    chosen, scored_on = divide(seen, wanted, np.random.default_rng(seed))
    cells, classes = seen.examples.part(chosen), seen.scored()
    learnt = learn(cells)
    verdict, _ = decide(cells, learnt, compare(cells, cells.mean_logits, learnt.left_out), None)
    right = np.stack([one.argmax(axis=1) == cells.labels for one in (cells.mean_logits, learnt.left_out)])
    gains = np.diff(accuracies_drawn(cells, right), axis=1)
    whole = seen.examples
    return Draw(
        seen.balanced(whole.mean_logits, scored_on, classes),
        seen.balanced(applied(whole.mean_features, whole.mean_logits, learnt.delta), scored_on, classes),
        tuple(verdict != "too few" and bool(np.quantile(gains, q) > least) for q, least in CRITERIA),
        len(chosen),
    )


def suggested(seen: Seen, seed: int, *, at_random: bool) -> list[tuple[int, float]]:
    """By :data:`DECISIONS`: the cells of the scarcest class of the pool that are labelled by then, and the
    balanced accuracy of what was learnt of them. The pool is natural, of groups that are not scored."""
    rng = np.random.default_rng(seed)
    wanted = [round(share * POOL) for share in NATURAL_SHARES]
    pool, scored_on = divide(seen, wanted, rng)
    whole, classes = seen.examples, seen.scored()
    labels = whole.labels[pool]
    present = [c for c in classes if (labels == c).any()]
    order, result = list(rng.permutation(len(pool))), []
    taken: list[int] = []
    features, own = whole.mean_features, whole.mean_logits
    logits = own
    for decisions in range(STEP, DECISIONS[-1] + 1, STEP):
        rest = np.array([i for i in range(len(pool)) if i not in set(taken)], np.intp)
        if at_random:
            taken = [int(i) for i in order[:decisions]]
        elif len(rest):
            counts = (
                np.bincount(labels[taken], minlength=NUM_CLASSES) if taken else np.zeros(NUM_CLASSES, int)
            )
            places = suggest(
                features[pool[rest]],
                logits[pool[rest]],
                STEP,
                labelled=features[pool[taken]] if taken else None,
                counts=tuple(int(n) for n in counts),
            )
            taken += [int(rest[i]) for i in places]
        chosen = np.sort(pool[taken])
        logits = own
        if (np.bincount(whole.labels[chosen], minlength=NUM_CLASSES) >= MIN_CELLS).sum() >= 2:
            learnt = learn(whole.part(chosen))
            logits = applied(features, own, learnt.delta)
        if decisions in DECISIONS:
            fewest = min(int((labels[taken] == c).sum()) for c in present)
            result.append((fewest, seen.balanced(logits, scored_on, classes)))
    return result


def print_tables(devices: dict[str, Seen], draws: int, optimistic: Sequence[str]) -> None:
    """Markdown, as it stands in docs/accuracy.md."""
    every: list[Draw] = []
    rows = {
        name: {n: _draws(seen, (n,) * NUM_CLASSES, draws) for n in PER_CLASS}
        for name, seen in devices.items()
    }
    _say("| device | n = 0 | " + " | ".join(str(n) for n in PER_CLASS) + " | recommended, of these draws |")
    _say("| --- |" + " --- |" * (len(PER_CLASS) + 2))
    for name, by_n in rows.items():
        told = [f"{_mean(of)} (from {np.mean([d.before for d in of]):.3f})" for of in by_n.values()]
        shares = " / ".join(f"{np.mean([d.recommended for d in of]):.0%}" for of in by_n.values())
        before = np.mean([d.before for of in by_n.values() for d in of])
        mark = ", optimistic" if name in optimistic else ""
        _say(f"| {name}{mark} | {before:.3f} | {' | '.join(told)} | {shares} |")
        every += [d for of in by_n.values() for d in of]
    _say("\n| device | " + " | ".join(f"first {n} natural cells" for n in NATURAL) + " |")
    _say("| --- |" + " --- |" * len(NATURAL))
    for name, seen in devices.items():
        told = []
        for n in NATURAL:
            of = _draws(seen, [round(share * n) for share in NATURAL_SHARES], draws)
            told.append(
                f"{_mean(of)} (from {np.mean([d.before for d in of]):.3f}; "
                f"{np.mean([d.learnt for d in of]):.0f} cells were there)"
            )
            every += of
        _say(f"| {name} | {' | '.join(told)} |")
    _say("\n| device | way | " + " | ".join(f"{n} decisions" for n in DECISIONS) + " |")
    _say("| --- | --- |" + " --- |" * len(DECISIONS))
    for name, seen in devices.items():
        for way, at_random in (("suggested", False), ("at random", True)):
            found = np.array(
                [
                    suggested(seen, seed, at_random=at_random)
                    for seed in range(max(1, draws // SUGGESTION_SHARE))
                ]
            )
            told = [f"{accuracy:.3f}, scarcest class {cells:.1f}" for cells, accuracy in found.mean(axis=0)]
            _say(f"| {name} | {way} | {' | '.join(told)} |")
    harmful, worse = (np.mean([of(d) for d in every]) for of in (_harmful, _worse))
    _say(f"\nDraws: {len(every)}; recommended: {sum(d.recommended for d in every)}.")
    _say(f"Recommended, and worse than before: {sum(map(_harmful, every))} ({harmful:.1%} of all draws).")
    _say("\n| quantile of the gain | over | recommended | worse than before | others of the first row lost |")
    _say("| --- | --- | --- | --- | --- |")
    for number, (quantile, least) in enumerate(CRITERIA):
        met = [d for d in every if d.meets[number]]
        lost = sum(d.recommended and not _worse(d) and not d.meets[number] for d in every)
        harm = sum(map(_worse, met))
        _say(
            f"| {quantile} | {least} | {len(met)} | {harm} ({harm / len(every):.1%} of all draws) | {lost} |"
        )
    _say(f"\nWithout the trust view {worse:.1%} of all heads would be worse than before.")
    _say(f"\n{DISCLAIMER}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _draws(seen: Seen, wanted: Sequence[int], draws: int) -> list[Draw]:
    return [draw(seen, wanted, seed) for seed in range(draws)]


def _worse(of: Draw) -> bool:
    return of.after < of.before


def _harmful(of: Draw) -> bool:
    return of.recommended and _worse(of)


def _mean(draws: Sequence[Draw]) -> str:
    low, high = np.quantile([d.after for d in draws], [0.1, 0.9])
    return f"{np.mean([d.after for d in draws]):.3f} ({low:.2f} to {high:.2f})"


def collect(output: Path, model_path: Path, data_root: Path, split: str) -> None:
    """Write the archive of a split as an exported model sees the eight views of each cell."""
    from orchestrator.profiles import load_profiles
    from training.cells import look
    from training.datasets import read_split
    from training.device_features import group_of
    from training.predictors import open_predictor

    samples, base = read_split(data_root, split), load_profiles()["default"]
    found = list(
        look(
            open_predictor(model_path, "embedded"),
            samples,
            base.recipe,
            "light",
            "cells",
            limits=base.quality,
        )
    )
    np.savez(
        output,
        features=np.stack([cell.prediction.features for cell in found]),
        logits=np.stack([cell.prediction.logits for cell in found]),
        labels=np.array([sample.class_index for sample in samples]),
        groups=np.array([group_of(sample) for sample in samples]),
        cells=np.array([sample.cell or sample.path.name for sample in samples]),
        ids=np.array([sample.path.name for sample in samples]),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m training.adaptation_table", description=DISCLAIMER)
    parser.add_argument("--cells", metavar="DEVICE=NPZ", action="append", default=[])
    parser.add_argument("--optimistic", metavar="DEVICE", action="append", default=[])
    parser.add_argument("--by-cell", metavar="DEVICE", action="append", default=[])
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--collect", metavar="NPZ", type=Path)
    parser.add_argument("--model-path", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--split", default="TestB")
    given = parser.parse_args(arguments)
    if given.collect is not None:
        if given.model_path is None or given.data_root is None:
            parser.error("--collect needs --model-path and --data-root")
        collect(given.collect, given.model_path, given.data_root, given.split)
        return
    named = dict(pair.split("=", 1) for pair in given.cells if "=" in pair)
    if not named:
        parser.error("expected --cells DEVICE=NPZ, once for each device")
    devices = {name: Seen.read(Path(path)) for name, path in named.items()}
    devices |= {name: devices[name].by_cell() for name in given.by_cell if name in devices}
    print_tables(devices, given.draws, given.optimistic)


if __name__ == "__main__":
    main()
