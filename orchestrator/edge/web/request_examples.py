"""A request for each operation that takes one, as a command of a shell: for the documentation."""

import shlex
from typing import Final

from orchestrator.documents.differential import EXAMPLE_CELL, EXAMPLE_ID

_IMAGE: Final = "tests/golden/example.png"
_CELL: Final = "tests/golden/cell.png"
_CURL: Final = "curl --fail-with-body"
_JSON: Final = "-H 'Content-Type: application/json'"


def request_examples(address: str, model_version: int | None) -> dict[str, str]:
    """By ``operationId``. They run in a clone of the repository, and ask the service at ``address``. Ids of
    differentials and cells are those of the documentation's answers; a version that is not known is 1."""

    def at(path: str) -> str:
        return shlex.quote(f"{address}{path}")

    adaptations = "/v1/profiles/painted/adaptations"
    differential = f"/v1/differentials/{EXAMPLE_ID}"
    version = 1 if model_version is None else model_version
    return {
        "predict": f"{_CURL} -F file=@{_IMAGE} {at('/predict')}",
        "analyses": (
            f"{_CURL} -F file=@{_IMAGE} -F language=tr -F heatmap_format=jpeg \\\n  {at('/v1/analyses')}"
        ),
        "fields": f"{_CURL} -F file=@{_IMAGE} {at('/v1/fields')}",
        "order_differential": (
            f"{_CURL} -F specimen_id=S-2026-00417 -F files=@{_IMAGE} -F files=@{_CELL} \\\n"
            f"  {at('/v1/differentials')}"
        ),
        "cancel_differential": f"{_CURL} -X POST \\\n  {at(f'{differential}/cancel')}",
        "add_cell": (
            f'{_CURL} {_JSON} -d \'{{"top": 120, "left": 340, "bottom": 215, "right": 430}}\' \\\n'
            f"  {at(f'{differential}/fields/{EXAMPLE_CELL}/cells')}"
        ),
        "decide_cell": (
            f'{_CURL} {_JSON} -d \'{{"label": "Monocyte"}}\' \\\n'
            f"  {at(f'{differential}/cells/{EXAMPLE_CELL}/decision')}"
        ),
        "assign_differential": (
            f'{_CURL} {_JSON} -d \'{{"assignee": "anna", "instead_of": null}}\' \\\n'
            f"  {at(f'{differential}/assign')}"
        ),
        "comment_on_differential": (
            f"{_CURL} {_JSON} \\\n"
            f'  -d \'{{"text": "Smudged; stained anew.", "cell_id": "{EXAMPLE_CELL}"}}\' \\\n'
            f"  {at(f'{differential}/comments')}"
        ),
        "sign_differential": f"{_CURL} -X POST \\\n  {at(f'{differential}/sign')}",
        "add_to_differential": (
            f'{_CURL} {_JSON} -d \'{{"text": "Told to the ward by telephone."}}\' \\\n'
            f"  {at(f'{differential}/addenda')}"
        ),
        "learn_adaptation": (
            "d=$(mktemp -d)\n"
            "for n in 1 2; do wbc samples $d/S-$n --cells 15 --seed $n >&2; done\n"
            f'cd $d && {_CURL} $(for f in */*/*; do echo "-F ${{f%/*}}=@$f"; done) \\\n  {at(adaptations)}'
        ),
        "suggest_cells": (
            f"{_CURL} -F files=@{_IMAGE} -F files=@{_CELL} -F wanted=1 \\\n"
            f"  {at(f'{adaptations}/suggestions')}"
        ),
        "activate_adaptation": (
            f"{_CURL} {_JSON} \\\n"
            '  -d \'{"reason": "painted cells, to try it"}\' \\\n'
            f"  {at(f'{adaptations}/1/activation')}"
        ),
        "canary_adaptation": (
            f'{_CURL} {_JSON} -d \'{{"number": 1, "share": 0.1, "reason": "painted, to try it"}}\' \\\n'
            f"  {at(f'{adaptations}/canary')}"
        ),
        "shadow_adaptation": (f"{_CURL} {_JSON} -d '{{\"number\": 1}}' \\\n  {at(f'{adaptations}/shadow')}"),
        "roll_back_adaptation": (f"{_CURL} {_JSON} -d '{{}}' \\\n  {at(f'{adaptations}/roll-back')}"),
        "v2_infer": (
            'printf \'{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["%s"]}],\n'
            '  "outputs": [{"name": "class"}, {"name": "probabilities"}]}\' \\\n'
            f"  \"$(base64 < {_IMAGE} | tr -d '\\n')\" |\n"
            f"{_CURL} {_JSON} --data-binary @- \\\n  {at('/v2/models/wbc_analysis/infer')}"
        ),
        "v2_version_infer": (
            f"{_CURL} -H 'Inference-Header-Content-Length: 0' --data-binary @{_IMAGE} \\\n"
            f"  {at(f'/v2/models/wbc_analysis/versions/{version}/infer')}"
        ),
    }
