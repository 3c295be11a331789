import re
from urllib.parse import urljoin

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


@pytest.mark.parametrize("prefix", ["", "/lab", "/lab/wbc"])
@pytest.mark.parametrize("path", ["/nowhere", "/a/b/c", "/folder/"])
def test_the_links_of_the_page_lead_below_whatever_a_proxy_puts_before_the_path(prefix, path):
    page = render(path)

    links = [urljoin(f"http://host{prefix}{path}", link) for link in re.findall('href="([^"]*)"', page)]

    assert links == [f"http://host{prefix}/", f"http://host{prefix}/docs"]
    assert DISCLAIMER in page


def test_the_page_has_nothing_that_its_policy_forbids():
    page = render('/"><script>')
    for forbidden in ("<script", "<style", "style=", "<link", "<img", "src="):
        assert forbidden not in page
