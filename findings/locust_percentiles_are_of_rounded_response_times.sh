#!/usr/bin/env bash
# Surprise: Locust rounds each response time before it counts it: from 1,000 ms to hundreds, from 100 ms to tens. The
#   percentiles of its tables, CSV files, web page and API are of the rounded times; only mean, median of a constant,
#   least and most are of the exact ones. So 100 requests of 1,049 ms each have a 95th percentile of 1,000 ms.
# Good guess: a percentile is one of the times that were measured, or lies between two of them.
# Date: 2026-11-29
# Hurts: who fails a build at "p95 over 1,000 ms", or compares two builds that differ by less than 10 %.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check locust==2.47.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from locust.stats import RequestStats

print("locust", version("locust"))


def told(*times_ms):
    stats = RequestStats()
    for time_ms in times_ms:
        stats.log_request("POST", "/predict", time_ms, 0)
    return stats.get("/predict", "POST")


for time_ms in (94.9, 149.0, 1049.0, 1149.0):
    entry = told(*[time_ms] * 100)
    found = entry.get_response_time_percentile(0.95)
    print(f"100 requests of {time_ms} ms: 95th percentile {found} ms, mean {entry.avg_response_time} ms")
assert told(*[1049.0] * 100).get_response_time_percentile(0.95) == 1000
assert told(*[1149.0] * 100).get_response_time_percentile(0.95) == 1100
assert told(*[149.0] * 100).get_response_time_percentile(0.95) == 150
assert told(*[1049.0] * 100).avg_response_time == 1049.0
slow, fast = (told(*[time_ms] * 100).get_response_time_percentile(0.5) for time_ms in (1049.0, 951.0))
print(f"the medians of 1,049 ms and 951 ms, as percentiles: {slow} and {fast} ms")
PYTHON
echo "seen as described"
