import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from orchestrator.edge.access.security import AuthenticationUnavailable, Principal, Unauthenticated
from orchestrator.edge.access.signing_keys import MAX_DOCUMENT_BYTES, Issuer, SigningKeys, is_safe_url
from orchestrator.edge.access.tokens import TokenRules, TokenVerifier
from tests.fakes.token_issuer import AUDIENCE, TokenIssuer, public_jwk
from tests.waiting import LONGEST_S, becomes


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def running() -> Iterator[TokenIssuer]:
    with TokenIssuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(running: TokenIssuer) -> TokenIssuer:
    running.keys = {"first": "RS256"}
    running.may_tell = threading.Event()
    running.may_tell.set()
    running.status, running.body, running.discovery, running.asked = 200, None, {}, 0
    return running


def verifier(
    issuer: TokenIssuer,
    clock: Clock | None = None,
    timeout_s: float = 30.0,
    jwks_url: str | None = None,
    **rules: Any,
) -> TokenVerifier:
    keys = SigningKeys(
        Issuer(issuer.url, jwks_url, timeout_s).fetch,
        refresh_s=600,
        min_interval_s=30,
        max_age_s=3600,
        clock=clock or Clock(),
    )
    return TokenVerifier(TokenRules(issuer=issuer.url, audience=AUDIENCE, **rules), keys)


async def test_a_good_token_makes_its_subject_known_with_his_roles(issuer):
    principal = await verifier(issuer).verify(issuer.token(roles=["analyse", "sign", "cook"]))
    assert principal == Principal("oidc:a.yilmaz", frozenset({"analyse", "sign"}))


async def test_the_keys_may_have_an_address_in_the_settings(issuer):
    issuer.discovery = {"issuer": "https://elsewhere.example"}
    known = verifier(issuer, jwks_url=issuer.jwks_url)
    assert (await known.verify(issuer.token())).name == "oidc:a.yilmaz"


@pytest.mark.parametrize(
    ("rules", "claims", "roles"),
    [
        ({"roles_claim": "realm_access.roles"}, {"realm_access": {"roles": ["sign"]}}, {"sign"}),
        ({"roles_claim": "https://wbc.example/roles"}, {"https://wbc.example/roles": ["admin"]}, {"admin"}),
        ({"roles_claim": "scope", "role_prefix": "wbc:"}, {"scope": "openid wbc:review sign"}, {"review"}),
        ({"roles_claim": "a.b.c"}, {"a": ["b"]}, set()),
        ({}, {"roles": None}, set()),
        ({}, {"roles": {"analyse": True}}, set()),
        ({}, {"roles": [["analyse"], 7, None]}, set()),
    ],
)
async def test_roles_come_from_the_claim_of_the_settings(issuer, rules, claims, roles):
    assert (await verifier(issuer, **rules).verify(issuer.token(**claims))).roles == roles


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256"])
async def test_every_algorithm_that_is_allowed_works_with_its_key(issuer, algorithm):
    issuer.keys = {"it": algorithm}
    known = verifier(issuer, algorithms=("RS256", "ES256", "PS256"))
    assert (await known.verify(issuer.token(key_id="it", algorithm=algorithm))).name == "oidc:a.yilmaz"


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def signed_with_the_public_key(issuer: TokenIssuer) -> str:
    """An HMAC with what everybody knows: the confusion of CVE-2015-9235."""
    content = jwt.decode(issuer.token(), options={"verify_signature": False})
    signed = f"{encoded({'alg': 'HS256', 'kid': 'first'})}.{encoded(content)}"
    mac = hmac.new(issuer.public_pem(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def unsigned(issuer: TokenIssuer) -> str:
    content = jwt.decode(issuer.token(), options={"verify_signature": False})
    return f"{encoded({'alg': 'none', 'kid': 'first'})}.{encoded(content)}."


WRONG = {
    "expired": (lambda i: i.token(lifetime_s=-60), "expired"),
    "not yet": (lambda i: i.token(nbf=int(time.time()) + 600), "not valid"),
    "never ends": (lambda i: i.token(exp=None), "not valid"),
    "another audience": (lambda i: i.token(aud="another"), "another audience"),
    "no audience": (lambda i: i.token(aud=None), "not valid"),
    "another issuer": (lambda i: i.token(iss="https://evil.example"), "another issuer"),
    "another's signature": (lambda i: i.token(signed_by="other"), "not valid"),
    "no subject": (lambda i: i.token(sub=None), "claim 'sub'"),
    "a subject of two lines": (lambda i: i.token(sub="a\nb"), "claim 'sub'"),
    "an endless subject": (lambda i: i.token(sub="a" * 200), "claim 'sub'"),
    "an algorithm that is not allowed": (lambda i: i.token(algorithm="PS256"), "algorithm"),
    "the right key for another algorithm": (
        lambda i: i.token(algorithm="ES256", key_id="first"),
        "not signed by a key",
    ),
    "none": (unsigned, "algorithm"),
    "the public key as secret": (signed_with_the_public_key, "algorithm"),
    "a key that does not exist": (lambda i: i.token(key_id="unknown"), "not signed by a key"),
    "a key of its own": (
        lambda i: i.token(signed_by="other", header={"jwk": public_jwk("other", "first")}),
        "not valid",
    ),
    "a key elsewhere": (
        lambda i: i.token(signed_by="other", header={"jku": "https://evil.example/keys"}),
        "not valid",
    ),
    "an unknown critical header": (lambda i: i.token(header={"crit": ["x"], "x": 1}), "not valid|neither"),
    "changed": (lambda i: i.token()[:-6] + "AAAAAA", "not valid"),
    "deep": (lambda _: f"{base64.urlsafe_b64encode(b'[' * 4000).decode().rstrip('=')}.e30.AA", "neither"),
    "no token": (lambda _: "abc.def", "neither"),
    "nothing but dots": (lambda _: "..", "neither"),
}


@pytest.mark.parametrize("how", WRONG)
async def test_a_wrong_token_is_refused_with_its_reason(issuer, how):
    make, told = WRONG[how]
    with pytest.raises(Unauthenticated, match=told):
        await verifier(issuer).verify(make(issuer))


async def test_clocks_may_be_apart_by_the_leeway(issuer):
    assert await verifier(issuer, leeway_s=90.0).verify(issuer.token(lifetime_s=-60))


async def test_a_key_that_is_too_short_to_be_safe_is_not_accepted(issuer):
    issuer.keys = {"weak": "weak"}
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = issuer.token(key_id="weak", signed_by="weak")
    with pytest.raises(Unauthenticated, match="not valid"):
        await verifier(issuer).verify(token)


async def test_keys_for_other_uses_and_secrets_in_the_set_are_no_keys(issuer):
    secret = {"kty": "oct", "kid": "first", "k": "c2VjcmV0", "alg": "RS256"}
    for keys in (
        [secret],
        [public_jwk("RS256", "first", use="enc")],
        [public_jwk("RS256", "first", alg="PS256")],
    ):
        issuer.body = json.dumps({"keys": keys}).encode()
        with pytest.raises(Unauthenticated, match="not signed by a key"):
            await verifier(issuer).verify(issuer.token())


async def test_a_token_that_names_no_key_needs_an_issuer_with_one(issuer):
    token = issuer.token(key_id=None)
    assert await verifier(issuer).verify(token)
    issuer.keys = {"first": "RS256", "second": "other"}
    with pytest.raises(Unauthenticated, match="not signed by a key"):
        await verifier(issuer).verify(token)


@pytest.mark.parametrize("algorithms", [("none",), ("HS256",), ("RS256", "HS512"), ()])
def test_rules_that_would_accept_a_secret_are_refused(algorithms):
    with pytest.raises(ValueError, match="algorithm"):
        TokenRules(issuer="https://issuer.example", audience="wbc", algorithms=algorithms)


# The issuer's keys


async def test_a_new_key_of_the_issuer_is_found_when_a_token_names_it(issuer):
    clock = Clock()
    known = verifier(issuer, clock)
    await known.verify(issuer.token())
    issuer.keys = {"second": "other"}
    new = issuer.token(key_id="second", signed_by="other")
    with pytest.raises(Unauthenticated):  # it was asked a moment ago
        await known.verify(new)
    clock.now_s += 31
    assert (await known.verify(new)).name == "oidc:a.yilmaz"
    with pytest.raises(Unauthenticated):
        await known.verify(issuer.token())  # and the old one is gone
    assert issuer.asked == 2


async def test_tokens_with_invented_keys_do_not_make_it_ask_again_and_again(issuer):
    known = verifier(issuer)
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await known.verify(issuer.token(key_id=f"invented-{number}"))
    assert issuer.asked == 1


async def test_many_callers_at_once_wait_for_one_answer(issuer):
    issuer.may_tell.clear()
    known, token = verifier(issuer), issuer.token()
    waiting = [asyncio.create_task(known.verify(token)) for _ in range(20)]
    await becomes(lambda: issuer.asked == 1)
    issuer.may_tell.set()
    names = {principal.name for principal in await asyncio.gather(*waiting)}
    assert names == {"oidc:a.yilmaz"}
    assert issuer.asked == 1


async def test_old_keys_are_renewed_in_the_background(issuer):
    clock = Clock()
    known, token = verifier(issuer, clock, timeout_s=600), issuer.token()
    await known.verify(token)
    issuer.may_tell.clear()
    clock.now_s += 601
    async with asyncio.timeout(LONGEST_S):
        await known.verify(token)
    await becomes(lambda: issuer.asked == 2)
    await known.verify(token)
    issuer.may_tell.set()


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param({"status": 500}, id="fails"),
        pytest.param({"status": 302}, id="redirects"),
        pytest.param({"may_tell": threading.Event()}, id="never answers"),
        pytest.param({"body": b"<html>"}, id="HTML"),
        pytest.param({"body": b"[]"}, id="a list"),
        pytest.param({"body": b"[" * 100_000}, id="deep"),
        pytest.param({"body": b'{"keys": {}}'}, id="keys are no list"),
        pytest.param({"body": b'{"keys": [' + b" " * MAX_DOCUMENT_BYTES + b"]}"}, id="long"),
        pytest.param({"discovery": {"issuer": "https://evil.example"}}, id="another issuer"),
        pytest.param({"discovery": {"jwks_uri": "http://192.0.2.1/keys"}}, id="keys in the clear"),
        pytest.param({"discovery": {"jwks_uri": "file:///etc/passwd"}}, id="keys in a file"),
    ],
)
async def test_an_issuer_in_trouble_is_not_taken_for_a_wrong_token(issuer, trouble):
    for name, value in trouble.items():
        setattr(issuer, name, value)
    with pytest.raises(AuthenticationUnavailable):
        await verifier(issuer, timeout_s=0.3).verify(issuer.token())


async def test_known_keys_outlive_the_issuer_for_a_while(issuer):
    clock = Clock()
    known, token = verifier(issuer, clock), issuer.token()
    await known.verify(token)
    issuer.status = 500
    clock.now_s += 3000
    await known.verify(token)
    clock.now_s += 601
    with pytest.raises(AuthenticationUnavailable):
        await known.verify(token)


async def test_an_issuer_that_is_not_there_is_in_trouble():
    with TokenIssuer() as gone:
        token = gone.token()
    with pytest.raises(AuthenticationUnavailable):
        await verifier(gone, timeout_s=0.3).verify(token)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://issuer.example/keys", True),
        ("http://localhost:8080/keys", True),
        ("http://127.0.0.1/keys", True),
        ("http://issuer.example/keys", False),
        ("http://localhost.evil.example/keys", False),
        ("ftp://localhost/keys", False),
        ("//issuer.example", False),
        ("https://[bad", False),
    ],
)
def test_keys_come_over_https_or_from_this_machine(url, safe):
    assert is_safe_url(url) is safe
