"""What is answered to a browser that is lost, and to a probe that asks for headers alone."""

import re
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.api_key_file import change_keys
from orchestrator.edge.http.problems import MEDIA_TYPE
from orchestrator.edge.http.response_headers import SECURITY_HEADERS
from orchestrator.settings import SecuritySettings, Settings
from tests.fakes.memory_store import MemoryStore
from tests.fakes.model_server import FakeModelServer
from tests.http_edge import asking, client_of

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
CHANGING = {"x-request-id", "content-length"}
"""The latter of the metrics alone, which count the requests themselves."""


def service(**security: Any) -> AbstractAsyncContextManager[httpx2.AsyncClient]:
    settings = Settings(security=SecuritySettings(**security))
    return client_of(build_app(settings, build_services(settings, model_server=FakeModelServer())))


@pytest.mark.parametrize(
    "path", ["/nowhere-at-all", "/v1/nowhere-at-all", "/v2/nowhere-at-all", "/web/nowhere-at-all"]
)
async def test_a_browser_on_an_unknown_path_gets_a_page_that_says_what_is_here(client, path):
    response = await client.get(path, headers=BROWSER)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"] == SECURITY_HEADERS["Content-Security-Policy"]
    for shown in (DISCLAIMER, '/">the page</a>', '/docs">the documentation</a>'):
        assert shown in response.text
    assert "nowhere-at-all" not in response.text


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/html"])
async def test_any_other_client_on_an_unknown_path_gets_a_problem_document(client, accept):
    for path in ("/nowhere", "/web/nowhere"):
        response = await client.get(path, headers={"Accept": accept})
        assert (response.status_code, response.headers["content-type"]) == (404, MEDIA_TYPE)


async def test_the_page_names_all_of_its_modules_so_that_a_browser_asks_for_them_at_once(client):
    page = (await client.get("/", headers=BROWSER)).text
    named = re.findall(r'<link rel="modulepreload" href="(web/\w+\.js)">', page)
    imported = {"trouble", "app"}
    for name in named:
        script = await client.get(f"/{name}")
        assert script.status_code == 200
        imported |= set(re.findall(r'from "\./(\w+)\.js"', script.text))
    assert sorted(named) == sorted(f"web/{name}.js" for name in imported)


async def test_a_browser_gets_problem_documents_for_all_but_a_get_of_an_unknown_path(client):
    for method, path, status in (("POST", "/nowhere", 404), ("GET", "/predict", 405)):
        response = await client.request(method, path, headers=BROWSER)
        assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE)


@pytest.mark.parametrize(
    "path",
    ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/", "/web/app.js", "/v1/model",
     "/v2/health/live", "/predict", "/nowhere", "/v1/differentials"],
)  # fmt: skip
async def test_head_answers_with_the_status_and_headers_of_get_and_no_body(client, path):
    get, head = await client.get(path), await client.head(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert set(head.headers) == set(get.headers)
    ignored = CHANGING if path == "/metrics" else CHANGING - {"content-length"}
    assert {**head.headers, **dict.fromkeys(ignored)} == {**get.headers, **dict.fromkeys(ignored)}


async def test_head_of_an_unknown_path_answers_a_browser_as_get_does(client):
    head = await client.head("/nowhere", headers=BROWSER)
    assert (head.status_code, head.content) == (404, b"")
    assert head.headers["content-type"].startswith("text/html")
    assert (
        head.headers["content-length"]
        == (await client.get("/nowhere", headers=BROWSER)).headers["content-length"]
    )


async def test_head_needs_the_credential_and_the_role_that_get_needs(tmp_path):
    path = tmp_path / "keys.json"
    secret = create_key(path, "admin")
    shown = {"Authorization": f"Bearer {secret}"}
    async with service(api_keys_file=path, protect_metrics=True) as client:
        for asked, headers, status in (
            ("/v1/model", {}, 401),
            ("/v1/model", shown, 403),
            ("/metrics", {}, 401),
            ("/metrics", shown, 200),
            ("/livez", {}, 200),
        ):
            assert (await client.get(asked, headers=headers)).status_code == status, asked
            assert (await client.head(asked, headers=headers)).status_code == status, asked


def create_key(path: Path, role: str) -> str:
    return change_keys(path, lambda ring: ring.created("somebody", (role,), None, datetime.now(UTC)))


async def test_the_openapi_document_has_no_head(client):
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert not [path for path, operations in paths.items() if "head" in operations]


async def test_every_get_of_the_openapi_document_answers_head_with_the_same_and_no_body():
    settings = Settings()
    services = build_services(settings, model_server=FakeModelServer())
    asked = 0
    async with client_of(build_app(settings, services, store=MemoryStore())) as client:
        for path, operations in (await client.get("/openapi.json")).json()["paths"].items():
            if "get" in operations:
                concrete = re.sub(r"\{[^}]*\}", "none", path)
                get, head = await client.get(concrete), await client.head(concrete)
                assert (head.status_code, head.content) == (get.status_code, b""), path
                assert head.headers.get("content-type") == get.headers.get("content-type"), path
                asked += 1
    assert asked > 20


async def test_allow_names_head_beside_get(client):
    assert (await client.delete("/livez")).headers["allow"] == "GET, HEAD"


async def test_the_examples_of_the_documentation_ask_the_address_it_is_served_from(client):
    page = (await client.get("/docs", headers={"Host": "lab.example:8443"})).text
    assert "--fail-with-body -F file=@tests/golden/example.png http://lab.example:8443/predict" in page
    assert "localhost" not in page
    assert page.count("curl ") == page.count("curl --fail-with-body ") == page.count("<h3>Example</h3>") > 3


async def test_the_examples_keep_the_path_of_a_proxy():
    settings = Settings()
    application = build_app(settings, build_services(settings, model_server=FakeModelServer()))
    application.root_path = "/lab"
    async with client_of(application) as client:
        assert "http://service/lab/predict" in (await client.get("/docs")).text
        assert 'href="../docs"' in (await client.get("/lab/not/here", headers=BROWSER)).text


async def test_the_documentation_says_when_images_are_stored(client):
    page = (await client.get("/docs")).text
    assert "WBC_STORE__KEEP_IMAGES" in page
    assert "neither stored" not in page


async def test_the_documentation_names_the_model_that_answers_and_is_there_without_one(client):
    model = (await client.get("/v1/model")).json()["model"]
    assert f"<strong>{model['name']}</strong>, version {model['version']}" in (await client.get("/docs")).text
    settings = Settings()
    application = build_app(settings, build_services(settings, model_server=FakeModelServer()))
    async with asking(application) as stopped:
        assert "No model answers now" in (await stopped.get("/docs")).text


async def test_the_page_and_the_documentation_link_to_each_other(client):
    assert '<a href="docs"' in (await client.get("/")).text.partition("<footer>")[2]
    assert 'href="./"' in (await client.get("/docs")).text


PLAIN = {"accept-encoding": "identity"}


@pytest.mark.parametrize(
    ("accepted", "media_type", "coding"),
    [
        ({"accept": "application/openmetrics-text; version=abc", **PLAIN}, "text/plain", None),
        ({"accept": 'application/openmetrics-text;version="x"', **PLAIN}, "text/plain", None),
        ({"accept": "application/openmetrics-text;version=9.0.0", **PLAIN}, "text/plain", None),
        ({"accept": "text/plain;version=x,application/openmetrics-text", **PLAIN}, "application/openm", None),
        ({"accept": "application/openmetrics-text;q=0", "accept-encoding": "gzip;q=0"}, "text/plain", None),
        (
            {"accept": "application/openmetrics-text;q=1", "accept-encoding": "gzip"},
            "application/openm",
            "gzip",
        ),
        ({"accept": "text/plain", "accept-encoding": "identity;q=0, gzip;q=0.1"}, "text/plain", "gzip"),
    ],
)
async def test_metrics_come_as_they_are_taken_and_never_as_they_are_ruled_out(accepted, media_type, coding):
    async with service() as client:
        response = await client.get("/metrics", headers=accepted)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(media_type)
    assert response.headers.get("content-encoding") == coding
    assert "wbc_requests_total" in response.text
