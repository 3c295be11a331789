"""What callers take, and what they rule out."""

import pytest

from orchestrator.edge.http.quality_values import acceptable, wants_gzip


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, identity", False),
        ("gzip; q=0, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0, gzip;q=0.1", True),
        ("deflate, br", False),
        ("gzip;q=nonsense", False),
    ],
)
def test_gzip_is_sent_to_who_takes_it_no_less_than_what_is_not_compressed(header, wanted):
    assert wants_gzip(header) is wanted


def test_what_is_ruled_out_is_not_acceptable():
    header = "application/openmetrics-text;version=1.0.0;q=0, text/plain;version=0.0.4;q=0.5,*/*;q=0.0"
    assert acceptable(header) == ["text/plain;version=0.0.4;q=0.5"]
