"""`make load`: the load of a laboratory against a service, a report, and whether the objective was met.

    python -m loadtests.load [--url http://localhost:8000] [--users 10] [--run-time 60s]

Without ``--url`` the service at the default port is taken, or one is started on a free port for the run.
Writes Locust's CSV files and HTML report, every request (``load_times.csv``, of which the percentiles are)
and ``verdict.md`` under ``runs/load/``; exit code 1 where the
objective of ``loadtests/slo.toml`` is missed. For research use only. Not for use in diagnostic procedures.
"""

import argparse
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from loadtests.host import divided_cores, host_in_words
from loadtests.objective import (
    SLO_FILE,
    TIMES_FILE,
    Verdict,
    is_met,
    judge,
    read_objective,
    read_statistics,
)
from orchestrator.domain import DISCLAIMER
from tests.running_service import PROJECT_ROOT, running_service

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
DEFAULT_PORT: Final = 8000


def is_ready(url: str) -> bool:
    """Whether a service there would answer."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=3) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def service(url: str | None, default_port: int = DEFAULT_PORT, *, own_core: bool = False) -> Iterator[str]:
    """The URL of a ready service: the given one, the one at the default port, or one started for the while.

    With ``own_core`` one that is started leaves a core to this thread: a load generator takes the more from a
    service that shares its cores, the more it asks.

    Raises ``SystemExit`` where a service was named and is not ready.
    """
    default = f"http://localhost:{default_port}"
    if url is not None:
        if not is_ready(url):
            raise SystemExit(f"error: no service is ready at {url}")
        yield url
    elif is_ready(default):
        yield default
    else:
        print(f"no service at {default}: starting one on a free port")
        cores = divided_cores() if own_core else nullcontext(lambda: None)
        with cores as take_own, running_service() as started:
            take_own()
            yield started.url


def run_locust(url: str, folder: Path, users: int, spawn_rate: float, run_time: str) -> Path:
    """Run the users without a page of their own; the path of the table of all requests.

    Raises ``SystemExit`` where Locust itself fails; failed requests are the objective's matter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--host", url, "--headless",
        "--users", str(users), "--spawn-rate", str(spawn_rate),
        "--run-time", run_time, "--stop-timeout", "20",
        "--csv", str(folder / "load"), "--html", str(folder / "report.html"),
        "--only-summary", "--exit-code-on-error", "0",
    ]  # fmt: skip
    times = folder / TIMES_FILE
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT), "WBC_LOAD_TIMES": str(times)}
    if code := subprocess.run(command, cwd=PROJECT_ROOT, env=environment, check=False).returncode:
        raise SystemExit(f"error: Locust ended with code {code}")
    return times


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """The targets for the terminal."""
    table = Table("objective", "measured", "", title="Service level objective", caption=DISCLAIMER)
    for one in verdicts:
        table.add_row(one.target, one.measured, "[green]met[/]" if one.met else "[bold red]missed[/]")
    return table


def verdict_text(url: str, verdicts: Sequence[Verdict], host: str) -> str:
    """The same as Markdown, with what the run was."""
    lines = ["# Load run", "", f"{DISCLAIMER} Service {url}; {host}.", "", "| Objective | Measured | |"]
    lines += ["| --- | --- | --- |"]
    lines += [f"| {one.target} | {one.measured} | {'met' if one.met else 'missed'} |" for one in verdicts]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load and judge it; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="a running service; see above where absent")
    parser.add_argument("--default-port", type=int, default=DEFAULT_PORT, help="looked at without --url")
    parser.add_argument(
        "--users", type=int, default=10, help="three of them send fields, a batch and bad files"
    )
    parser.add_argument("--spawn-rate", type=float, default=5, help="users that begin a second")
    parser.add_argument("--run-time", default="60s", help="such as 90s or 5m")
    parser.add_argument("--slo", type=Path, default=SLO_FILE, help="another objective")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/load"))
    options = parser.parse_args(arguments)
    objective = read_objective(options.slo)  # before a minute of load, not after it
    with service(options.url, options.default_port) as url:
        statistics = run_locust(
            url, options.output_dir.resolve(), options.users, options.spawn_rate, options.run_time
        )
        verdicts = judge(objective, read_statistics(statistics))
        text = verdict_text(url, verdicts, host_in_words())
    (options.output_dir / "verdict.md").write_text(text, encoding="utf-8")
    console = Console()
    console.print(verdict_table(verdicts))
    console.print(f"{host_in_words()}; written: {options.output_dir}", highlight=False)
    return 0 if is_met(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
