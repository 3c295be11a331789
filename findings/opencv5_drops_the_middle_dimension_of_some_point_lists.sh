#!/usr/bin/env bash
# Surprise: with opencv-python-headless 5.0.0.93 cv2.convexityDefects gives [N, 4] and cv2.findNonZero [N, 2], where 4.x
#   gave [N, 1, 4] and [N, 1, 2]; cv2.findContours, cv2.convexHull and cv2.approxPolyDP still give [N, 1, ...]. So within
#   one function about one outline both kinds of list occur.
# Good guess: lists of points keep the shape that they have had since OpenCV 2, or all change with the major version.
#   `defects[:, 0]`, as tutorials write it, does not fail: it takes the index of each defect's first point instead of the
#   whole row, and `defects[i, 0]`, unpacked into four, raises.
# Date: 2026-11-30
# Hurts: who measures the bays of a nucleus (segmented or band), or the extent of a mask, by code that ran on OpenCV 4.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/shapes.py" <<'PYTHON'
import sys
from importlib.metadata import version

import cv2
import numpy as np

mask = np.zeros((100, 100), np.uint8)
cv2.rectangle(mask, (10, 10), (90, 90), 255, -1)
cv2.rectangle(mask, (40, 10), (60, 50), 0, -1)  # a bay
(outline,), _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
hull = cv2.convexHull(outline, returnPoints=False)
shapes = {
    "findContours": outline.shape[1:],
    "approxPolyDP": cv2.approxPolyDP(outline, 3, True).shape[1:],
    "convexHull": cv2.convexHull(outline).shape[1:],
    "convexityDefects": cv2.convexityDefects(outline, hull).shape[1:],
    "findNonZero": cv2.findNonZero(mask).shape[1:],
}
print("opencv-python-headless", version("opencv-python-headless"))
for name, shape in shapes.items():
    print(f"  {name:17} [N, {', '.join(map(str, shape))}]")
kept = {"findContours": (1, 2), "approxPolyDP": (1, 2), "convexHull": (1, 2)}
changed = {
    "4": {"convexityDefects": (1, 4), "findNonZero": (1, 2)},
    "5": {"convexityDefects": (4,), "findNonZero": (2,)},
}
if shapes != kept | changed[sys.argv[1]]:
    sys.exit("not as it was when this was written")
PYTHON
for release in 4.12.0.88 5.0.0.93; do
    python3 -m venv "$folder/$release"
    "$folder/$release/bin/python" -m pip install --quiet --disable-pip-version-check \
        "opencv-python-headless==$release" 'numpy==2.2.6'
    "$folder/$release/bin/python" "$folder/shapes.py" "${release%%.*}"
done
