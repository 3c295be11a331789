"""The long run: every target under guidance and every operation over HTTP, with the figures at the end.

``python -m tests.fuzz --minutes 10``; half of the time is for HTTP. The exit code is 1 where anything failed.
"""

import argparse
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.fuzz.guided import GUIDES
from tests.fuzz.over_http import fuzz_over_http
from tests.fuzz.targets import TARGETS
from tests.running_service import PROJECT_ROOT, running_service

HTTP: Final = "http"
INPUT_TIMEOUT_S: Final = 10
MAX_RSS_MB: Final = 2048
_STAT: Final = re.compile(r"stat::(\w+):\s+(\d+)")
_UNEXPECTED: Final = re.compile(r"^.*unexpected .*$", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=(HTTP, *TARGETS), default=(HTTP, *TARGETS))
    parser.add_argument("--output", type=Path, default=PROJECT_ROOT / "runs" / "fuzz")
    parser.add_argument("--list", action="store_true", help="name the targets and end")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        _say("\n".join((HTTP, *TARGETS)))
        return 0
    chosen.output.mkdir(parents=True, exist_ok=True)
    total_s = 60 * chosen.minutes
    targets = [name for name in chosen.only if name != HTTP]
    http_s = total_s if not targets else total_s / 2 if HTTP in chosen.only else 0.0
    figures: dict[str, Any] = {
        "seed": chosen.seed,
        "guided": importlib.util.find_spec("atheris") is not None,
        "targets": {},
    }
    for name in targets:
        seconds = max(1, round((total_s - http_s) / len(targets)))
        figures["targets"][name] = found = _guided(name, seconds, chosen.seed, chosen.output)
        _say(f"{name:10} {found['cases']:>10} cases  {found['failures']} failures  {found['peak_rss_mb']} MB")
    if HTTP in chosen.only:
        figures[HTTP] = found = _over_http(http_s, chosen.seed)
        failed, peak_rss_mb = len(found["failures"]), found["peak_rss_mb"]
        _say(f"{HTTP:10} {found['cases']:>10} cases  {failed} failures  {peak_rss_mb} MB")
        for kind, example in found["failures"].items():
            _say(f"\n{kind}\n{example}")
    parts = [*figures["targets"].values(), *([figures[HTTP]] if HTTP in figures else [])]
    figures["cases"] = sum(part["cases"] for part in parts)
    figures["failures"] = sum(
        len(part["failures"]) if isinstance(part["failures"], Mapping) else part["failures"] for part in parts
    )
    (chosen.output / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    _say(f"{figures['cases']} cases, {figures['failures']} failures: {chosen.output / 'figures.json'}")
    return 1 if figures["failures"] else 0


def _guided(name: str, seconds: int, seed: int, output: Path) -> dict[str, Any]:
    """One target in a process of its own, which may use so much memory and so much time for an input."""
    assert set(GUIDES) == set(TARGETS)
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(TARGETS[name].seeds()):
            Path(folder, f"{number:04}").write_bytes(data)
        flags = (
            f"-max_total_time={seconds}",
            f"-timeout={INPUT_TIMEOUT_S}",
            f"-rss_limit_mb={MAX_RSS_MB}",
            f"-max_len={TARGETS[name].max_bytes}",
            f"-seed={seed}",
            f"-artifact_prefix={output / name}-",
            "-print_final_stats=1",
        )
        process = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", name, *flags, folder],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + 120,
            check=False,
        )
    log = process.stdout + process.stderr
    stats = {key: int(value) for key, value in _STAT.findall(log)}
    if process.returncode:
        (output / f"{name}.log").write_text(log)
        _say(log[-4000:])
    return {
        "cases": stats.get("number_of_executed_units", 0),
        "failures": int(process.returncode != 0),
        "peak_rss_mb": stats.get("peak_rss_mb"),
        "seconds": round(time.monotonic() - begun_s, 1),
    }


def _over_http(seconds: float, seed: int) -> dict[str, Any]:
    """The service as a process; it must live on, log nothing unexpected and stay small."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"WBC_STORE__URL": f"sqlite+aiosqlite:///{folder}/store.db"}
        log_file = Path(folder, "log")
        with running_service(("-m", "tests.fuzz.service", str(log_file)), environment) as service:
            found = fuzz_over_http(
                service.url, seed=seed, max_examples=200, max_time_s=round(seconds), workers=2
            )
            alive = service.process.poll() is None
            peak_rss_mb = _peak_rss_mb(service.process.pid) if alive else None
            service.stop()
        log = log_file.read_text(errors="replace")
    failures = dict(found.failures)
    if not alive:
        failures["the service ended"] = log[-4000:]
    for line in _UNEXPECTED.findall(log):
        failures.setdefault("the service logged an unexpected exception", line)
    if peak_rss_mb is not None and peak_rss_mb > MAX_RSS_MB:
        failures["the service took too much memory"] = f"{peak_rss_mb} MB"
    return {
        "cases": found.cases,
        "failures": failures,
        "operations": len(found.operations),
        "statuses": {str(status): count for status, count in sorted(found.statuses.items())},
        "peak_rss_mb": peak_rss_mb,
        "seconds": round(found.seconds, 1),
    }


def _peak_rss_mb(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # not Linux
        return None
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
