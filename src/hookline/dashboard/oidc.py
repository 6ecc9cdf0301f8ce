"""Signing in with a provider of OpenID Connect: the authorization code flow with PKCE, state and nonce.

What was drawn for one sign-in (state, nonce, the code's verifier) waits in a cookie of the browser that began it, so
that strangers who begin many cost nothing here; that a state is good once is written when it was used
(`Accounts.sign_in_as`). Sources: OpenID Connect Core 1.0 §3.1 (§3.1.3.7: what an ID token must pass) and Discovery 1.0,
RFC 7636 (PKCE), RFC 9207 (`iss` beside the code), RFC 9700 (best practice). Signatures are verified by joserfc, with
asymmetric algorithms alone: neither `none` nor the provider's public key as a shared secret lets anybody in.

Names and roles come from the ID token alone: the provider's other endpoints are not asked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import msgspec

from hookline.dashboard.account_model import Vouched
from hookline.errors import ConfigError, RequestError, SignInRefused
from hookline.rules.address import check_source_url
from hookline.rules.roles import role_of

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

    from hookline.config import OidcConfig
    from hookline.loop import Clock

# How long somebody may take at the provider, and how far its clock may be from ours.
BEGUN_MS: Final = 600_000
LEEWAY_S: Final = 60
# How long what the provider says of itself is believed, and how soon its keys are asked for again for one not known.
FRESH_MS: Final = 3_600_000
KEYS_AGAIN_MS: Final = 10_000
TIMEOUT_S: Final = 10.0
MOST_BYTES: Final = 256 * 1024
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA",
)  # fmt: skip
_MOST_TEXT: Final = 255


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that has begun: where the browser goes, and what it keeps meanwhile."""

    location: str
    kept: str = field(repr=False)


class _Kept(msgspec.Struct):
    """What was drawn for one sign-in, as its browser keeps it."""

    state: str
    nonce: str
    verifier: str
    next: str
    begun_ms: int


class _Metadata(msgspec.Struct):
    """What a provider says of itself, as far as it is asked (Discovery 1.0 §3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Provider:
    """One provider, asked by one process.

    Args:
        redirect_uri: where the provider sends browsers back to; registered there.
        draw: makes what nobody guesses.

    Raises: ConfigError where the extra `oidc` is not installed.
    """

    def __init__(
        self,
        config: OidcConfig,
        *,
        redirect_uri: str,
        clock: Clock,
        draw: Callable[[], str] = secrets.token_urlsafe,
    ) -> None:
        try:
            import joserfc  # noqa: F401 - looked for now, not at the first sign-in
        except ImportError as error:
            raise ConfigError("HOOKLINE_OIDC_ISSUER", "needs the extra oidc: pip install 'hookline[oidc]'") from error
        self._config = config
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._draw = draw
        self._may_use_http = config.issuer.startswith("http:")
        self._metadata: tuple[int, _Metadata] | None = None
        self._keys: tuple[int, KeySet] | None = None

    @property
    def name(self) -> str:
        """What the button calls it."""
        return self._config.name or urlsplit(self._config.issuer).hostname or self._config.issuer

    async def begin(self, location: str) -> Begun:
        """Begin a sign-in that is to end at a page of ours.

        Raises: RequestError 503 where the provider does not say how.
        """
        metadata = await self._discovered()
        kept = _Kept(self._draw(), self._draw(), self._draw() + self._draw(), location, self._clock.now_ms())
        challenge = _base64url(hashlib.sha256(kept.verifier.encode()).digest())
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid profile email",
            "state": kept.state,
            "nonce": kept.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in metadata.authorization_endpoint else "?"
        return Begun(
            f"{metadata.authorization_endpoint}{joint}{urlencode(query)}", _base64url(msgspec.json.encode(kept))
        )

    async def complete(self, query: Mapping[str, str], kept_text: str) -> Vouched:
        """Who came back from the provider.

        Args:
            query: what the provider sent the browser back with.
            kept_text: what `begin` gave the browser to keep.

        Raises:
            SignInRefused: they did not begin here, the provider refused, or what it says does not hold.
            RequestError: 503 where the provider does not answer.
        """
        kept = _opened(kept_text)
        if kept is None or not hmac.compare_digest(kept.state.encode(), query.get("state", "").encode()):
            raise SignInRefused("This sign-in did not begin in this browser: begin again.")
        if not 0 <= self._clock.now_ms() - kept.begun_ms < BEGUN_MS:
            raise SignInRefused("This sign-in took too long: begin again.")
        metadata = await self._discovered()
        told = query.get("iss")
        if told != metadata.issuer and (told is not None or metadata.authorization_response_iss_parameter_supported):
            raise SignInRefused("The answer comes from another provider: begin again.")
        if "error" in query:
            raise SignInRefused("The provider did not let you in.")
        if not (code := query.get("code")):
            raise SignInRefused("The provider's answer holds no code: begin again.")
        claims = await self._verified(await self._id_token(metadata, code, kept.verifier), metadata, kept.nonce)
        role = role_of(claims, self._config.roles)
        if role is None:
            raise SignInRefused("Your account at the provider has no role here: ask an admin for one.")
        return Vouched(metadata.issuer, claims["sub"], _name(claims), role, kept.state, kept.next)

    async def _id_token(self, metadata: _Metadata, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        secret = self._config.client_secret
        if secret is not None and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            # Each part is form-encoded first (RFC 6749 §2.3.1).
            pair = f"{quote_plus(self._config.client_id)}:{quote_plus(secret)}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": self._config.client_id} | ({} if secret is None else {"client_secret": secret})
        status, answer = await self._asked("POST", metadata.token_endpoint, form, headers)
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if status != 200 or not isinstance(token, str):
            raise SignInRefused("The provider gave nothing for its code: begin again.")
        return token

    async def _verified(self, token: str, metadata: _Metadata, nonce: str) -> Mapping[str, Any]:
        """The claims of an ID token that is this provider's, for us, of this sign-in and of now."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jws import extract_compact

        allowed = [one for one in ALGORITHMS if one in metadata.id_token_signing_alg_values_supported]
        try:
            kid = extract_compact(token.encode()).headers().get("kid")
            keys = await self._key_set(metadata, kid if isinstance(kid, str) else None)
            claims = jwt.decode(token, keys, algorithms=allowed).claims
        except (JoseError, ValueError) as error:
            raise SignInRefused("The provider's signature does not hold.") from error
        if why := _wrong(claims, metadata.issuer, self._config.client_id, nonce, self._clock.now_ms() // 1000):
            raise SignInRefused(f"What the provider says does not hold: {why}.")
        return claims

    async def _key_set(self, metadata: _Metadata, kid: str | None) -> KeySet:
        """The provider's keys; asked for again where one is named that is not among them, since keys are rotated."""
        now_ms = self._clock.now_ms()
        if self._keys is not None:
            read_ms, keys = self._keys
            age_ms = now_ms - read_ms
            is_known = kid is None or any(key.kid == kid for key in keys)
            if 0 <= age_ms < (FRESH_MS if is_known else KEYS_AGAIN_MS):
                return keys
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        status, answer = await self._asked("GET", metadata.jwks_uri)
        listed = answer.get("keys") if status == 200 and isinstance(answer, dict) else None
        if not isinstance(listed, list):
            raise _away("its keys cannot be read")
        # Those that sign, by a pair of keys; what is of an unknown kind is passed over.
        signing = [one for one in listed if isinstance(one, dict) and one.get("use", "sig") == "sig"]
        try:
            keys = KeySet.import_key_set({"keys": [one for one in signing if one.get("kty") != "oct"]})
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _away("its keys cannot be read") from error
        self._keys = (now_ms, keys)
        return keys

    async def _discovered(self) -> _Metadata:
        now_ms = self._clock.now_ms()
        if self._metadata is not None and 0 <= now_ms - self._metadata[0] < FRESH_MS:
            return self._metadata[1]
        status, answer = await self._asked("GET", f"{self._config.issuer}/.well-known/openid-configuration")
        if status != 200:
            raise _away("it does not say how to sign in")
        try:
            metadata = msgspec.convert(answer, _Metadata)
            for url in (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri):
                check_source_url(url, setting="", may_use_http=self._may_use_http)
        except (ValueError, ConfigError) as error:
            raise _away("it does not say how to sign in") from error
        # With or without the slash that some issuers end with; tokens name it as it is named here.
        if metadata.issuer.rstrip("/") != self._config.issuer:
            raise _away("it is another one than HOOKLINE_OIDC_ISSUER says")
        self._metadata = (now_ms, metadata)
        return metadata

    async def _asked(
        self, method: str, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """One request of the provider: the status, and what came as JSON or None. No redirect is followed."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        given = {"accept": "application/json", **(headers or {})}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.request(method, url, data=form, headers=given, allow_redirects=False) as response,
            ):
                content = b""
                while len(content) < MOST_BYTES and (more := await response.content.read(MOST_BYTES - len(content))):
                    content += more
                status = response.status
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _away("it does not answer") from error
        try:
            return status, msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return status, None


def _wrong(claims: Mapping[str, Any], issuer: str, client_id: str, nonce: str, now_s: int) -> str | None:
    """Why an ID token whose signature holds lets nobody in all the same (Core 1.0 §3.1.3.7); None where it does."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    expires_s, issued_s, not_before_s = (_number(claims.get(name)) for name in ("exp", "iat", "nbf"))
    subject = claims.get("sub")
    if claims.get("iss") != issuer:
        return "it is of another issuer"
    if client_id not in audiences:
        return "it is for another client"
    if claims.get("azp", client_id) != client_id or (len(audiences) > 1 and "azp" not in claims):
        return "it was given to another client"
    if expires_s is None or expires_s <= now_s - LEEWAY_S:
        return "it has expired"
    if issued_s is None or issued_s > now_s + LEEWAY_S or (not_before_s or 0) > now_s + LEEWAY_S:
        return "it is of a later time: compare the clocks"
    if not isinstance(claims.get("nonce"), str) or not hmac.compare_digest(claims["nonce"].encode(), nonce.encode()):
        return "it is of another sign-in"
    if not isinstance(subject, str) or not 1 <= len(subject) <= _MOST_TEXT:
        return "it names nobody"
    return None


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _name(claims: Mapping[str, Any]) -> str:
    """What somebody is called who is new here; who they are is told by `sub` alone."""
    for claim in ("preferred_username", "email", "name"):
        value = claims.get(claim)
        if isinstance(value, str) and value.strip():
            return value.strip()[:_MOST_TEXT]
    return str(claims["sub"])


def _opened(kept: str) -> _Kept | None:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4)), type=_Kept)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        return None


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _away(why: str) -> RequestError:
    return RequestError(503, "provider_away", f"The provider cannot be used now: {why}. Try again, or use a password.")
