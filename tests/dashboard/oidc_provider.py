"""A provider of OpenID Connect of the tests' own: real HTTP, real signatures, and lies where a test asks for them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from hookline.demo.serving import Served, loopback

if TYPE_CHECKING:
    from hookline.testing import TurnedClock

CLIENT_ID: Final = "hookline-dashboard"
CLIENT_SECRET: Final = "s3cret/+ of the client"
# Made once: it takes a while.
_FIRST: Final = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)


@dataclass
class _Code:
    """What a code was given for."""

    redirect_uri: str
    challenge: str
    nonce: str


@dataclass
class OidcProvider:
    """Everybody who comes is let in as `claims` say.

    Attributes:
        change: called with the claims of every ID token, to make them wrong.
        sign: makes the token of claims; None signs as it should be.
        keys: what it publishes; the first signs.
        answers: path to an answer that is given instead: status and body.
        asked: the paths that were asked, in order.
        auth_methods: how clients prove themselves at the token endpoint.
    """

    clock: TurnedClock
    claims: dict[str, Any] = field(default_factory=dict)
    change: Callable[[dict[str, Any]], object] = lambda _: None
    sign: Callable[[dict[str, Any]], str] | None = None
    keys: list[Any] = field(default_factory=lambda: [_FIRST])
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    auth_methods: tuple[str, ...] = ("client_secret_basic",)
    tells_issuer: bool = False
    issuer: str = ""
    proofs: list[str] = field(default_factory=list)
    _codes: dict[str, _Code] = field(default_factory=dict)
    _served: Served | None = None

    def __enter__(self) -> Self:
        listening = loopback()
        self.issuer = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._served = Served(self, listening, name="oidc-provider")
        self._served.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._served is not None
        self._served.__exit__(None, None, None)

    def enter(self, location: str, **more: str) -> str:
        """What a browser does there: somebody signs in, and the browser is sent back; to which URL."""
        parts = urlsplit(location)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.issuer}/authorize"
        asked = dict(parse_qsl(parts.query))
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe()
        self._codes[code] = _Code(asked["redirect_uri"], asked["code_challenge"], asked["nonce"])
        back = {"code": code, "state": asked["state"], **({"iss": self.issuer} if self.tells_issuer else {}), **more}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"]
        self.asked.append(path)
        if path in self.answers:
            status, content = self.answers[path]
        else:
            headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
            # Signing takes a moment of the thread that serves.
            status, content = await asyncio.to_thread(self._answer, path, dict(parse_qsl(body.decode())), headers)
        headers_sent = [(b"content-type", b"application/json"), (b"location", b"http://evil.test/")]
        await send({"type": "http.response.start", "status": status, "headers": headers_sent})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, path: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, bytes]:
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps(self.metadata()).encode()
        if path == "/keys":
            return 200, json.dumps(KeySet(list(self.keys)).as_dict(private=False)).encode()
        if path == "/token":
            return self._token(form, headers)
        return 404, b"{}"

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
            "token_endpoint_auth_methods_supported": list(self.auth_methods),
            "authorization_response_iss_parameter_supported": self.tells_issuer,
        }

    def _token(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, bytes]:
        code = self._codes.pop(form.get("code", ""), None)
        if "authorization" in headers:
            pair = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
            client_id, _, secret = (unquote_plus(part) for part in pair.partition(":"))
            self.proofs.append("client_secret_basic")
        else:
            client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
            self.proofs.append("client_secret_post")
        verified = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        is_good = (
            code is not None
            and (client_id, secret) == (CLIENT_ID, CLIENT_SECRET)
            and form.get("grant_type") == "authorization_code"
            and form.get("redirect_uri") == code.redirect_uri
            and verified.rstrip(b"=").decode() == code.challenge
        )
        if not is_good or code is None:
            return 400, b'{"error": "invalid_grant"}'
        now_s = self.clock.now_ms() // 1000
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "subject-1",
            "iat": now_s,
            "exp": now_s + 300,
            "nonce": code.nonce,
            **self.claims,
        }
        self.change(claims)
        token = (self.sign or self.signed)(claims)
        return 200, json.dumps({"access_token": "unused", "token_type": "Bearer", "id_token": token}).encode()

    def signed(self, claims: dict[str, Any]) -> str:
        """By the first of its keys."""
        key = self.keys[0]
        algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
        return jwt.encode({"alg": algorithm, "kid": key.kid}, claims, key, algorithms=[algorithm])


def new_key() -> ECKey:
    """Another pair of keys, of another kind."""
    return ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)


def unsigned(claims: dict[str, Any]) -> str:
    """A token of the algorithm `none`."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join(_part(json.dumps(one).encode()) for one in parts) + "."


def signed_with_public_key(claims: dict[str, Any]) -> str:
    """A token whose shared secret is the provider's public key, which everybody knows."""
    parts = ({"alg": "HS256", "kid": _FIRST.kid}, claims)
    signed = ".".join(_part(json.dumps(one).encode()) for one in parts)
    return f"{signed}.{_part(hmac.digest(_FIRST.as_pem(private=False), signed.encode(), 'sha256'))}"


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
