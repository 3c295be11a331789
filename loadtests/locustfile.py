"""The load of a laboratory, for Locust: `make load`, or with a page of its own

    locust -f loadtests/locustfile.py --host http://localhost:8000

Five kinds of users, named in the statistics by what they send: ``single`` images of a person who looks at
each answer, a ``burst`` of the cells of one field, a whole ``field``, a ``batch`` from an archive without
heatmap and report, and now and then a ``bad file``, which must be refused. Every request that is not answered
as expected is a failure; so is one that a busy service sends away, whose Retry-After is kept.

How a request travels is the matter of :mod:`loadtests.edges` alone. For research use only. Not for use in
diagnostic procedures.
"""

import csv
import os
import random
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Pool
from locust import FastHttpUser, between, constant, events, task
from locust.env import Environment

from loadtests.edges import Edge, RestEdge
from loadtests.images import ImageFile, bad_files, painted_cells, painted_fields

CELLS = painted_cells(per_class=2)
FIELDS = painted_fields()
BAD_FILES = bad_files(CELLS)
# Painting took seconds in which the loop's clock stood still; Locust would count them as run time.
gevent.get_hub().loop.update_now()


@events.init.add_listener  # type: ignore[untyped-decorator]  # Locust types no events
def keep_times(environment: Environment, **_: Any) -> None:
    """Write each request to the table that ``WBC_LOAD_TIMES`` names: Locust itself keeps rounded times."""
    if not (path := os.environ.get("WBC_LOAD_TIMES")):
        return
    file = Path(path).open("w", newline="", encoding="utf-8")  # noqa: SIM115, open as long as Locust runs
    table = csv.writer(file)
    table.writerow(("kind", "ms", "failed"))

    def keep(name: str, response_time: float, exception: BaseException | None = None, **_: Any) -> None:
        table.writerow((name, response_time, int(exception is not None)))

    environment.events.request.add_listener(keep)  # type: ignore[no-untyped-call]
    environment.events.quit.add_listener(lambda **_: file.close())  # type: ignore[no-untyped-call]


FIELD_CELLS = (6, 12)
"""Least and most cells of one field."""

AT_ONCE = 4
"""Uploads that one workstation has under way."""


class LabUser(FastHttpUser):
    """Whoever sends images. ``edge`` says by which way."""

    abstract = True
    edge: Edge

    def on_start(self) -> None:
        """Choose the way; another edge is chosen here."""
        self.edge = RestEdge(self.client)

    def send(self, kind: str, file: ImageFile, *, full: bool = True) -> None:
        """Have one cell analysed, and wait as long as a busy service asks for."""
        pause_s = self.edge.analyse(kind, file, full=full)
        if pause_s:
            gevent.sleep(pause_s)


class Person(LabUser):
    """Sends one cell, reads the answer, goes on."""

    weight = 6
    wait_time = between(1, 3)

    @task
    def one_cell(self) -> None:
        """One image."""
        self.send("single", random.choice(CELLS))


class Microscope(LabUser):
    """Sends all cells of a field, a few at a time, then moves the stage."""

    weight = 2
    wait_time = between(6, 12)

    @task
    def one_field(self) -> None:
        """A burst."""
        pool = Pool(AT_ONCE)
        for file in random.choices(CELLS, k=random.randint(*FIELD_CELLS)):
            pool.spawn(self.send, "burst", file)
        pool.join()


class Camera(LabUser):
    """Sends whole fields, one after the other as the stage moves."""

    fixed_count = 1
    wait_time = between(2, 4)

    @task
    def whole_field(self) -> None:
        """A field."""
        pause_s = self.edge.find("field", random.choice(FIELDS))
        if pause_s:
            gevent.sleep(pause_s)


class Archive(LabUser):
    """Sends image after image without a pause, and wants classes only."""

    fixed_count = 1
    wait_time = constant(0.2)

    @task
    def next_image(self) -> None:
        """One of a batch."""
        self.send("batch", random.choice(CELLS), full=False)


class Mistaken(LabUser):
    """Sends what is no image."""

    fixed_count = 1
    wait_time = between(1, 4)

    @task
    def wrong_file(self) -> None:
        """A bad file."""
        self.edge.refuse("bad file", random.choice(BAD_FILES))
