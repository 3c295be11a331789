import pytest

from orchestrator.edge.http.languages import preferred_language


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("de, fr;q=0.5", None),
        ("*", None),
        ("tr", "tr"),
        ("tr-TR,tr;q=0.9,en-US;q=0.8,en;q=0.7", "tr"),
        ("en-GB,tr;q=0.9", "en"),
        ("de, tr;q=0.2, en;q=0.3", "en"),
        ("EN", "en"),
        ("tr;q=0, en;q=0.1", "en"),
        ("tr;q=0", None),
        ("tr;q=many, en;q=0.1", "en"),
        ("tr;level=1, en;q=0.1", "en"),
        ("trk, en;q=0.1", "en"),
        (",;,;;q==,", None),
    ],
)
def test_the_language_weighed_most_is_chosen(header, expected):
    assert preferred_language(header) == expected
