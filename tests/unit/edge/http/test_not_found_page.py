import pytest

from orchestrator.domain import DISCLAIMER
from orchestrator.edge.http.not_found_page import prefers_html, render


@pytest.mark.parametrize(
    "accept",
    [
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",  # Firefox, Chromium
        "text/html",
        "TEXT/HTML; charset=utf-8 ; q=0.9, application/json;q=0.5",
    ],
)
def test_a_browser_prefers_html(accept):
    assert prefers_html(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",  # curl
        "application/json",
        "application/json, text/plain, */*",
        "application/json, text/html",
        "text/html;q=0.5, application/problem+json",
        "text/html;q=0",
        "text/html;q=many",
        ";;,,q=",
    ],
)
def test_a_program_does_not(accept):
    assert not prefers_html(accept)


def test_the_page_links_to_what_is_here_below_the_path_of_a_proxy():
    assert 'href="/"' in render("")
    assert 'href="/docs"' in render("")
    assert 'href="/lab/wbc/docs"' in render("/lab/wbc/")
    assert DISCLAIMER in render("")


def test_the_page_has_nothing_that_its_policy_forbids():
    page = render('/"><script>')
    for forbidden in ("<script", "<style", "style=", "<link", "<img", "src="):
        assert forbidden not in page
