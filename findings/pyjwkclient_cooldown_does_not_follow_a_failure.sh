#!/usr/bin/env bash
# Surprise: the cooldown of PyJWT's PyJWKClient (30 s by default) begins with a fetch that succeeded. While the
#   issuer's key set cannot be had, every token asks for it again, at once, each for up to the whole timeout.
# Good guess: a cooldown between fetches spares an issuer that is down, and the requests that wait for it, most of all.
# Date: 2026-11-29
# Hurts: services that check tokens by it: with the issuer away each request makes one of its own and waits for it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "pyjwt[crypto]==2.15.1"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

print("pyjwt", version("pyjwt"))
key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(generate_private_key(SECP256R1()).public_key()))
asked, is_up = 0, False


class Issuer(BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += 1
        body = json.dumps({"keys": [key | {"kid": "known", "use": "sig"}]}).encode() if is_up else b""
        self.send_response(200 if is_up else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
threading.Thread(target=server.serve_forever, daemon=True).start()


def fetches(kid, times):
    global asked
    asked = 0
    for _ in range(times):
        try:
            client.get_signing_key(kid)
        except jwt.PyJWKClientError:
            pass
    return asked


client = jwt.PyJWKClient(f"http://127.0.0.1:{server.server_port}/keys", timeout=5, cooldown_duration=30)
down = fetches("known", 20)
print(f"the issuer is down: 20 tokens, {down} fetches")
is_up = True
client.get_signing_key("known")
unknown = fetches("unknown", 20)
print(f"the issuer is up, and 20 tokens name a key that it has not: {unknown} fetches")
assert down == 20
assert unknown <= 1
PYTHON
echo "seen as described"
