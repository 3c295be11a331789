"""An OpenID Connect issuer on loopback: tells its keys, signs tokens; changes keys, is slow or away, lies."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "wbc-analyzer"
JWKS_PATH = "/keys"
DISCOVERY_PATH = "/.well-known/openid-configuration"

# Made once: an RSA key takes a tenth of a second.
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_WEAK_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
_EC = ec.generate_private_key(ec.SECP256R1())

PRIVATE_KEYS: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {
    "RS256": _RSA,
    "PS256": _RSA,
    "ES256": _EC,
    "other": _OTHER_RSA,
    "weak": _WEAK_RSA,
}


class TokenIssuer:
    """In a test: ``with TokenIssuer() as issuer:``, its ``url`` in the settings.

    ``keys`` is what its JWK set holds, by key id: names of ``PRIVATE_KEYS``. It tells them while ``may_tell``
    is set; where ``status`` is not 200 that is all it answers; ``body`` is said instead of the JWK set.
    ``asked`` counts the questions for its keys.
    """

    def __init__(self) -> None:
        self.keys = {"first": "RS256"}
        self.may_tell = threading.Event()
        self.may_tell.set()
        self.status = 200
        self.body: bytes | None = None
        self.discovery: dict[str, Any] = {}
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = issuer._answer(self.path)
                if self.path == JWKS_PATH:
                    issuer.may_tell.wait()
                try:
                    self.send_response(issuer.status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:  # who asked no longer waits
                    pass

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def jwks_url(self) -> str:
        return self.url + JWKS_PATH

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(
        self,
        *,
        key_id: str | None = "first",
        algorithm: str = "RS256",
        signed_by: str | None = None,
        header: dict[str, Any] | None = None,
        lifetime_s: float = 300,
        **claims: Any,
    ) -> str:
        """A token; a claim of None is left out."""
        now = time.time()
        content = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "a.yilmaz",
            "iat": int(now),
            "exp": int(now + lifetime_s),
            "roles": ["analyse"],
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in content.items() if value is not None},
            PRIVATE_KEYS[signed_by or algorithm],
            algorithm,
            headers={**({} if key_id is None else {"kid": key_id}), **(header or {})},
        )

    def public_pem(self) -> bytes:
        """The first key, as a file: what somebody may try as the secret of an HMAC."""
        return _RSA.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def jwk_set(self) -> dict[str, Any]:
        return {"keys": [public_jwk(name, key_id) for key_id, name in self.keys.items()]}

    def _answer(self, path: str) -> bytes:
        if path == JWKS_PATH:
            self.asked += 1
            return json.dumps(self.jwk_set()).encode() if self.body is None else self.body
        document = {"issuer": self.url, "jwks_uri": self.jwks_url, **self.discovery}
        return json.dumps(document).encode() if path == DISCOVERY_PATH else b"{}"


def public_jwk(name: str, key_id: str, **more: Any) -> dict[str, Any]:
    """The public part of one of ``PRIVATE_KEYS``."""
    public = PRIVATE_KEYS[name].public_key()
    if isinstance(public, rsa.RSAPublicKey):
        key = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        key = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    return {**key, "kid": key_id, "use": "sig", **more}
