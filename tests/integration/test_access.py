"""Who is let in, over the whole HTTP application: credentials, roles, limits, other sites, headers."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr, ValidationError
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from typer.testing import CliRunner, Result

from orchestrator.bootstrap.security import build_access, check_address
from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.bootstrap.store import build_store
from orchestrator.commands.cli import app
from orchestrator.commands.keys import parsed_lifetime
from orchestrator.edge.access.api_key_file import change_keys
from orchestrator.edge.access.needs import READ, Needs
from orchestrator.edge.http.access import PRINCIPAL
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.http.problems import MEDIA_TYPE
from orchestrator.errors import ConfigurationError
from orchestrator.settings import (
    OidcSettings,
    RateLimitSettings,
    SecuritySettings,
    Settings,
    StoreSettings,
    TlsSettings,
)
from tests.fakes.model_server import FakeModelServer
from tests.fakes.token_issuer import AUDIENCE, TokenIssuer
from tests.http_edge import client_of
from tests.running_service import PROJECT_ROOT, free_port

Keys = dict[str, str]

IMAGE = (PROJECT_ROOT / "tests/golden/example.png").read_bytes()


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """A file of keys, and a key for each role."""
    path = tmp_path / "api-keys.json"
    lifetime = parsed_lifetime("1d")
    made = {}
    for role in ("analyse", "review", "sign", "admin"):
        made[role] = _created(path, f"a-{role}", role, lifetime)
    return {"file": str(path), **made}


def _created(path: Path, name: str, role: str, lifetime: Any) -> str:
    from datetime import UTC, datetime

    return change_keys(path, lambda ring: ring.created(name, (role,), lifetime, datetime.now(UTC)))


def service(
    add: Callable[[Any], None] | None = None, **security: Any
) -> AbstractAsyncContextManager[httpx2.AsyncClient]:
    settings = Settings(security=SecuritySettings(**security))
    application = build_app(settings, build_services(settings, model_server=FakeModelServer()))
    if add:
        add(application)
    return client_of(application)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_without_a_credential_only_what_is_open_is_answered(keys):
    async with service(api_keys_file=keys["file"]) as client:
        for path in ("/livez", "/readyz", "/docs", "/openapi.json", "/", "/metrics"):
            assert (await client.get(path)).status_code == 200, path
        refused = await client.post("/predict", files={"file": IMAGE})
    assert refused.status_code == 401
    assert refused.headers["content-type"] == MEDIA_TYPE
    assert refused.headers["www-authenticate"] == 'Bearer realm="wbc"'
    assert refused.json()["type"].endswith(":unauthenticated")
    assert refused.json()["request_id"] == refused.headers["x-request-id"]


@pytest.mark.parametrize(
    "shown", [bearer, lambda key: {"X-API-Key": key}, lambda k: {"authorization": f"bearer {k}"}]
)
async def test_a_key_is_shown_in_either_header(keys, shown):
    async with service(api_keys_file=keys["file"]) as client:
        answer = await client.post("/predict", files={"file": IMAGE}, headers=shown(keys["analyse"]))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"X-API-Key": "wbc_0123456789ab_" + "A" * 43},
        {"X-API-Key": "A" * 9000},
        {"Authorization": "Bearer a.b.c"},
    ],
    ids=lambda headers: str(headers)[:40],
)
async def test_a_credential_that_is_none_is_refused_and_not_repeated(keys, headers):
    async with service(api_keys_file=keys["file"]) as client:
        refused = await client.get("/v1/model", headers=headers)
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert "AAAA" not in refused.text


async def test_two_credentials_are_none(keys):
    both = {"X-API-Key": keys["analyse"], **bearer(keys["admin"])}
    async with service(api_keys_file=keys["file"]) as client:
        assert (await client.get("/v1/model", headers=both)).status_code == 401


async def test_a_role_that_is_missing_is_named(keys):
    async with service(api_keys_file=keys["file"]) as client:
        refused = await client.post("/predict", files={"file": IMAGE}, headers=bearer(keys["sign"]))
    assert refused.status_code == 403
    assert refused.json()["type"].endswith(":forbidden")
    assert refused.json()["detail"] == "This needs the role analyse; yours: sign."
    assert 'error="insufficient_scope", scope="analyse"' in refused.headers["www-authenticate"]


async def test_metrics_are_for_the_admin_where_the_setting_says_so(keys):
    async with service(api_keys_file=keys["file"], protect_metrics=True) as client:
        states = [
            (await client.get("/metrics", headers=headers)).status_code
            for headers in ({}, bearer(keys["analyse"]), bearer(keys["admin"]))
        ]
    assert states == [401, 403, 200]


async def test_a_path_that_does_not_exist_tells_nothing_to_strangers(keys):
    async with service(api_keys_file=keys["file"]) as client:
        assert (await client.get("/v1/nothing")).status_code == 401
        assert (await client.get("/v1/nothing", headers=bearer(keys["sign"]))).status_code == 404
        assert (await client.delete("/predict", headers=bearer(keys["sign"]))).status_code == 405


async def test_a_route_that_was_added_without_its_needs_is_found_by_nobody():
    async def forgotten() -> str:
        return "secret"

    def add(app: Any) -> None:
        app.add_api_route("/v1/forgotten", forgotten)

    async with service(add) as client:
        refused = await client.get("/v1/forgotten")
    assert refused.status_code == 404
    assert "secret" not in refused.text


@pytest.mark.parametrize("kept", [True, False])
def test_nothing_that_changes_or_holds_results_is_open(tmp_path, kept):
    store = StoreSettings(url=SecretStr(f"sqlite:///{tmp_path}/store.db")) if kept else StoreSettings()
    settings = Settings(store=store)
    services = build_services(settings, model_server=FakeModelServer())
    application = build_app(settings, services, store=build_store(settings.store))
    needs = {
        (route.method, route.path): route.needs for route in application.routes if isinstance(route, Endpoint)
    }
    assert len(needs) == len(application.routes) - 1  # the first hands out
    assert len(needs) >= 30
    assert needs["POST", "/v1/differentials/{differential_id}/sign"] == Needs(("sign",))
    assert needs["POST", "/v1/differentials/{differential_id}/comments"] == Needs(("review",))
    assert needs["POST", "/v1/differentials/{differential_id}/addenda"] == Needs(("sign",))
    assert needs["GET", "/v1/differentials/{differential_id}/audit"] == Needs(("admin",))
    opened = {of for of, need in needs.items() if not need.roles}
    assert {method for method, _ in opened} == {"GET"}
    assert not [path for _, path in opened if path.startswith("/v1")]
    uploads = {path for (_, path), need in needs.items() if need.bounds_body}
    assert uploads == {
        "/predict", "/v1/analyses", "/v1/fields", "/v1/differentials", "/v2/models/{model_name}/infer",
        "/v2/models/{model_name}/versions/{model_version}/infer",
        "/v1/profiles/{profile}/adaptations", "/v1/profiles/{profile}/adaptations/suggestions",
    }  # fmt: skip


async def test_what_follows_knows_who_asks(keys):
    async def who(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.scope[PRINCIPAL].name)

    def replace_model(app: Any) -> None:
        routes = app.router.routes
        at = next(n for n, route in enumerate(routes) if getattr(route, "path", "") == "/v1/model")
        routes[at].app = Endpoint("GET", "/v1/model", who, READ).app

    async with service(replace_model, api_keys_file=keys["file"]) as client:
        assert (await client.get("/v1/model", headers=bearer(keys["review"]))).text == "key:a-review"
    async with service(replace_model) as client:
        assert (await client.get("/v1/model")).text == "local"
    async with service(replace_model, allow_unauthenticated=True) as client:
        assert (await client.get("/v1/model")).text == "anonymous"


async def test_tokens_and_keys_are_accepted_side_by_side(keys):
    with TokenIssuer() as issuer:
        oidc = OidcSettings(issuer=issuer.url, audience=AUDIENCE)
        async with service(api_keys_file=keys["file"], oidc=oidc) as client:
            for good in (keys["analyse"], issuer.token(roles=["analyse"])):
                assert (await client.get("/v1/model", headers=bearer(good))).status_code == 200
            weak = await client.get("/v1/model", headers=bearer(issuer.token(roles=[])))
            assert (weak.status_code, weak.json()["detail"]) == (
                403,
                "This needs the role analyse or review or sign; yours: none.",
            )
            expired = await client.get("/v1/model", headers=bearer(issuer.token(lifetime_s=-99)))
            assert (expired.status_code, expired.json()["detail"]) == (401, "The token has expired.")


async def test_an_issuer_that_is_away_is_a_503_that_says_when_to_come_back():
    with TokenIssuer() as gone:
        token = gone.token()
    oidc = OidcSettings(issuer=gone.url, audience=AUDIENCE, timeout_s=0.3)
    async with service(oidc=oidc) as client:
        answer = await client.get("/v1/model", headers=bearer(token))
    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":authentication-unavailable")
    assert int(answer.headers["retry-after"]) > 0


# How often


async def test_a_caller_is_told_what_is_left_and_then_refused(keys):
    limit = RateLimitSettings(requests=2, window_s=60)
    async with service(api_keys_file=keys["file"], rate_limit=limit) as client:
        first, second, third = [
            await client.get("/v1/model", headers=bearer(keys["analyse"])) for _ in range(3)
        ]
        other = await client.get("/v1/model", headers=bearer(keys["review"]))
        probe = await client.get("/livez", headers=bearer(keys["analyse"]))
    assert [answer.status_code for answer in (first, second, third, other, probe)] == [
        200,
        200,
        429,
        200,
        200,
    ]
    assert first.headers["ratelimit-policy"] == '"default";q=2;w=60'
    assert first.headers["ratelimit"] == '"default";r=1;t=30'
    assert third.headers["ratelimit"].startswith('"default";r=0;t=')
    assert 1 <= int(third.headers["retry-after"]) <= 30
    assert third.json()["type"].endswith(":rate-limited")
    assert "ratelimit" not in probe.headers


async def test_guessing_keys_is_counted_by_address(keys):
    limit = RateLimitSettings(requests=5, window_s=60)
    async with service(api_keys_file=keys["file"], rate_limit=limit) as client:
        guesses = [
            (
                await client.get("/v1/model", headers={"X-API-Key": f"wbc_{number:012x}_{'A' * 43}"})
            ).status_code
            for number in range(7)
        ]
        good = await client.get("/v1/model", headers=bearer(keys["analyse"]))
    assert guesses == [401] * 5 + [429] * 2
    assert good.status_code == 200


# Pages of other sites


async def test_pages_of_other_sites_may_ask_only_where_they_are_listed(keys):
    own, listed, other = "http://service", "https://lis.example.org", "https://evil.example"
    security = {"api_keys_file": keys["file"], "cors_origins": (listed,)}
    async with service(**security) as client:

        async def ask(**headers: str) -> httpx2.Response:
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.post(
                "/predict", files={"file": IMAGE}, headers={**bearer(keys["analyse"]), **headers}
            )

        assert (await ask(Origin=own)).status_code == 200
        assert (await ask(Origin=own, Sec_Fetch_Site="same-origin")).status_code == 200
        answer = await ask(Origin=listed, Sec_Fetch_Site="cross-site")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, listed)
        for headers in (
            {"Origin": other},
            {"Origin": "null"},
            {"Origin": other, "Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
        ):
            refused = await ask(**headers)
            assert refused.status_code == 403, headers
            assert "access-control-allow-origin" not in refused.headers
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
        allowed = await client.options("/predict", headers={"Origin": listed, **asks})
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, listed)
        denied = await client.options("/predict", headers={"Origin": other, **asks})
        assert "access-control-allow-origin" not in denied.headers


async def test_by_default_no_other_page_may_ask():
    async with service() as client:
        answer = await client.get("/v1/model", headers={"Origin": "https://lis.example.org"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "origin", ["*", "lis.example.org", "https://lis.example.org/", "https://a.example/x", "null"]
)
def test_an_origin_in_the_settings_is_a_whole_one_and_never_all(origin):
    with pytest.raises(ValidationError, match="cors_origins"):
        SecuritySettings(cors_origins=(origin,))


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:8000", 200), ("evil.example", 403), ("", 403)],
)
async def test_a_page_whose_name_is_made_to_mean_this_machine_is_refused(host, status):
    """DNS rebinding: nobody is asked who they are, and the browser sends what its page wants."""
    settings = Settings()
    application = build_app(settings, build_services(settings, model_server=FakeModelServer()))
    transport = httpx2.ASGITransport(application)
    async with (
        application.router.lifespan_context(application),
        httpx2.AsyncClient(transport=transport) as client,
    ):
        answer = await client.get("http://127.0.0.1:8000/v1/model", headers={"Host": host})
    assert answer.status_code == status


# What answers carry, and what they do not


async def test_every_answer_carries_the_headers_that_guard_it(keys):
    async with service(api_keys_file=keys["file"]) as client:
        for path in ("/livez", "/v1/model", "/nothing", "/docs"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cross-origin-embedder-policy"] == "require-corp"
            assert "camera=()" in headers["permissions-policy"]
            assert "server" not in headers
            assert "strict-transport-security" not in headers


async def test_a_handler_that_raises_shows_nothing_of_the_inside(keys):
    async def broken() -> None:
        raise RuntimeError("password in /etc/secret")

    def break_model(app: Any) -> None:
        routes = app.router.routes
        at = next(n for n, route in enumerate(routes) if getattr(route, "path", "") == "/v1/model")
        routes[at].app = Endpoint("GET", "/v1/model", broken, READ).app

    async with service(break_model, api_keys_file=keys["file"]) as client:
        answer = await client.get("/v1/model", headers=bearer(keys["analyse"]))
    assert (answer.status_code, answer.headers["content-type"]) == (500, MEDIA_TYPE)
    for inside in ("password", "RuntimeError", "Traceback", ".py", "secret"):
        assert inside not in answer.text


async def test_the_openapi_document_says_how_to_show_a_credential():
    async with service() as client:
        document = (await client.get("/openapi.json")).json()
    schemes = document["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"apiKey", "http"}
    assert {name for entry in document["security"] for name in entry} == set(schemes)


# Where it may listen


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7", "orchestrator.example"])
def test_an_address_for_others_needs_authentication_or_an_explicit_word(host, keys):
    nothing = Settings()
    with pytest.raises(ConfigurationError, match="WBC_SECURITY__ALLOW_UNAUTHENTICATED=true"):
        check_address(nothing, host, "WBC_HTTP__HOST", build_access(nothing))
    for security in ({"allow_unauthenticated": True}, {"api_keys_file": keys["file"]}):
        settings = Settings(security=SecuritySettings.model_validate(security))
        check_address(settings, host, "WBC_HTTP__HOST", build_access(settings))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_on_loopback_nobody_needs_a_key(host):
    check_address(Settings(), host, "WBC_HTTP__HOST", build_access(Settings()))


def test_a_service_for_others_without_authentication_does_not_start():
    ended = subprocess.run(
        [sys.executable, "-m", "orchestrator"],
        cwd=PROJECT_ROOT,
        env={"PATH": "", "WBC_HTTP__HOST": "0.0.0.0", "WBC_HTTP__PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: WBC_HTTP__HOST=0.0.0.0")
    assert "WBC_SECURITY__API_KEYS_FILE" in line


def test_settings_that_would_not_protect_are_refused(tmp_path):
    wrong: list[dict[str, Any]] = [
        {"oidc": {"issuer": "https://issuer.example"}},
        {"oidc": {"issuer": "http://issuer.example", "audience": "wbc"}},
        {"oidc": {"issuer": "https://i.example", "audience": "wbc", "algorithms": ["HS256"]}},
        {"oidc": {"issuer": "https://i.example", "audience": "wbc", "algorithms": ["none"]}},
        {"protect_metrics": True},
        {"tls": {"certificate_file": "a.pem"}},
        {"tls": {"client_ca_file": "a.pem"}},
        {"tls": {"certificate_file": "a.pem", "key_file": "b.pem", "least_version": "1.1"}},
    ]
    for security in wrong:
        with pytest.raises(ValidationError):
            SecuritySettings.model_validate(security)
    missing = Settings(security=SecuritySettings(api_keys_file=tmp_path / "none.json"))
    with pytest.raises(ConfigurationError, match="WBC_SECURITY__API_KEYS_FILE: No such file"):
        build_access(missing)
    assert TlsSettings().least_version == "1.2"


# The command


def keys_command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


async def test_keys_are_made_rotated_listed_and_revoked_by_command(tmp_path):
    file = ("--file", str(tmp_path / "keys.json"))
    made = keys_command("create", "lis", "--role", "analyse", *file)
    assert made.exit_code == 0, made.stderr
    key = made.stdout.strip()
    async with service(api_keys_file=file[1]) as client:
        assert (await client.get("/v1/model", headers=bearer(key))).status_code == 200
    rotated = keys_command("rotate", "lis", "--overlap", "1h", *file).stdout.strip()
    assert rotated != key
    listed = keys_command("list", "--json", *file)
    (row,) = json.loads(listed.stdout)["keys"]
    assert (row["name"], row["roles"], row["state"], row["secrets"]) == ("lis", ["analyse"], "active", 2)
    for secret in (key, rotated):
        assert secret.split("_", 2)[2] not in listed.stdout + Path(file[1]).read_text()
    assert keys_command("revoke", "lis", *file).exit_code == 0
    async with service(api_keys_file=file[1]) as client:
        for old in (key, rotated):
            assert (await client.get("/v1/model", headers=bearer(old))).status_code == 401


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1y", "5", "1.5h", "99999999d", "9999999w"])
def test_a_lifetime_that_is_none_is_named(text):
    with pytest.raises(ConfigurationError, match="expected a time"):
        parsed_lifetime(text)
