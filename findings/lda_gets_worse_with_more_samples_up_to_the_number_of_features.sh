#!/usr/bin/env bash
# Surprise: scikit-learn's LinearDiscriminantAnalysis() (solver "svd", no shrinkage) on features of a network, 1,280
#   for a cell, is worse with 1,275 labelled cells than with 100, worst where there are as many samples as features,
#   and says nothing: no warning, no error. With shrinkage="auto" (solver "lsqr") it is as good as logistic regression.
# Good guess: more labelled examples help, and a classifier that cannot be fitted says so.
# Date: 2026-11-29
# Hurts: who puts a head on frozen features of a backbone (few-shot, linear probe) and takes LDA with its defaults.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.3.5 scikit-learn==1.9.1
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

for package in ("numpy", "scikit-learn"):
    print(package, version(package))
FEATURES, CLASSES = 1280, 5
random = np.random.default_rng(0)
centres = 0.15 * random.normal(size=(CLASSES, FEATURES))


def draw(of_each):
    labels = np.repeat(np.arange(CLASSES), of_each)
    return centres[labels] + random.normal(size=(len(labels), FEATURES)), labels


test = draw(200)
right = {}
for of_each in (5, 20, 60, 200, 255, 400):
    train = draw(of_each)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        plain = LinearDiscriminantAnalysis().fit(*train).score(*test)
    assert not said, [str(one.message) for one in said]
    shrunk = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(*train).score(*test)
    logistic = LogisticRegression(max_iter=500).fit(*train).score(*test)
    right[of_each] = plain
    print(f"{CLASSES * of_each:5} samples: LDA {plain:.2f}, LDA with shrinkage {shrunk:.2f}, logistic {logistic:.2f}")
    assert plain < logistic - 0.04, (plain, logistic)
assert right[255] < right[20] < right[60]
PYTHON
echo "seen as described"
