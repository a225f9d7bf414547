"""Who we are to a registry: basic, or bearer tokens with scopes (distribution's token specification), or OAuth2 refresh tokens.

Credentials go to their registry, and to a token server that belongs to it: the same host, or one below the same domain over HTTPS.
Any other realm gets what is kept for its own host, or nothing.
"""

from __future__ import annotations

import binascii
import time

from wherry.errors import AccessDenied, RegistryError
from wherry.model import jsontext
from wherry.registry import challenge
from wherry.registry.credentials import Credentials, CredentialStore
from wherry.registry.endpoints import host_name
from wherry.registry.transport import Transport, origin, with_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ANSWER_LIMIT = 1 << 20
# Tokens without a stated life live a minute (the specification's default); renewed a little earlier.
_LIFE_S = 60
_MARGIN_S = 10


class Authenticator:
    """The Authorization headers for one transport. Safe for several threads: at worst a token is fetched twice."""

    def __init__(self, transport: Transport, store: CredentialStore, own: Credentials | None = None) -> None:
        self._transport = transport
        self._store = store
        self._own = own
        self._found: Credentials | None = None
        self._looked = False
        self._challenge: challenge.Challenge | None = None
        self._tokens: dict[str, tuple[str, float]] = {}

    def credentials(self) -> Credentials | None:
        if not self._looked:
            endpoint = self._transport.endpoint
            self._found = self._own or self._store.find(endpoint.login, endpoint.path)
            self._looked = True
        return self._found

    def header(self, scope: str) -> dict[str, str]:
        """What to send along with a request that needs `scope` ("repository:NAME:pull,push"). Nothing before a first challenge."""
        if self._challenge is None:
            found = self.credentials() if self._own is not None else None
            return {"Authorization": _basic(found)} if found and found.username else {}
        if self._challenge.scheme == "basic":
            found = self.credentials()
            return {"Authorization": _basic(found)} if found else {}
        return {"Authorization": "Bearer " + self._token(scope)}

    def challenged(self, header: str, scope: str) -> bool:
        """The registry answered 401 with this WWW-Authenticate. Whether another try makes sense. Raises AccessDenied."""
        offers = {c.scheme: c for c in reversed(challenge.parse(header))}
        chosen = offers.get("bearer") or offers.get("basic")
        if chosen is None:
            return False
        if chosen.scheme == "basic":
            first = self._challenge is None
            self._challenge = chosen
            return first and self.credentials() is not None
        # Our own scope where it says more: a mount needs two repositories, and registries name the first one only.
        wanted = scope if " " in scope else str(chosen.parameters.get("scope") or scope)
        self._challenge = chosen
        self._tokens.pop(scope, None)
        self._tokens[scope] = self._fetch(wanted)
        return True

    def _token(self, scope: str) -> str:
        held = self._tokens.get(scope)
        if held is None or held[1] < time.monotonic():
            held = self._tokens[scope] = self._fetch(scope)
        return held[0]

    def _fetch(self, scope: str) -> tuple[str, float]:
        assert self._challenge is not None
        parameters = self._challenge.parameters
        realm = str(parameters.get("realm") or "")
        if origin(realm)[0] not in ("http", "https"):
            raise RegistryError(f"{self._transport.endpoint.host} names no place to get a token: {realm!r}")
        found = self._for_realm(realm)
        if found is not None and found.registry_token:
            return found.registry_token, time.monotonic() + 3600
        service = str(parameters.get("service") or "")
        if found is not None and found.identity_token:
            answer = self._refresh(realm, service, scope, found.identity_token)
        else:
            pairs = [("service", service)] if service else []
            pairs += [("scope", s) for s in scope.split(" ") if s]
            headers = {}
            if found is not None and found.username:
                pairs.append(("account", found.username))
                headers["Authorization"] = _basic(found)
            answer = self._ask("GET", with_query(realm, pairs) if pairs else realm, headers, None, realm)
        token = str(answer.get("token") or answer.get("access_token") or "")
        if not token or not token.isascii() or any(c in token for c in "\r\n"):
            raise RegistryError(f"{realm}: the token server's answer holds no token")
        life = answer.get("expires_in")
        life_s = max(_LIFE_S, int(life)) if isinstance(life, int) else _LIFE_S
        return token, time.monotonic() + life_s - _MARGIN_S

    def _refresh(self, realm: str, service: str, scope: str, token: str) -> dict[str, Any]:
        from urllib.parse import urlencode

        form = {"grant_type": "refresh_token", "refresh_token": token, "service": service, "scope": scope, "client_id": "wherry"}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", realm, headers, urlencode(form).encode(), realm)

    def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None, realm: str) -> dict[str, Any]:
        with self._transport.request(method, url, headers, body, follow=method == "GET") as answer:
            data = answer.whole(_ANSWER_LIMIT, 60.0)
            if answer.status in (401, 403):
                raise AccessDenied("unauthorized: incorrect username or password" if headers else "unauthorized: authentication required")
            if answer.status != 200:
                raise RegistryError(f"{realm}: the token server answers with status {answer.status}")
        try:
            found = jsontext.loads(data)
        except ValueError as error:
            raise RegistryError(f"{realm}: the token server's answer is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise RegistryError(f"{realm}: the token server's answer is no JSON object")
        return found

    def _for_realm(self, realm: str) -> Credentials | None:
        found = self.credentials()
        if found is None:
            return None
        scheme, host = origin(realm)
        if self._transport.scheme == "https" and scheme != "https":
            raise RegistryError(
                f"{self._transport.endpoint.host}: its token server {realm} is not reached over HTTPS, so gets no credentials"
            )
        if _belongs(host_name(host), host_name(self._transport.endpoint.host)):
            return found
        return self._store.find(host)


def _basic(found: Credentials) -> str:
    text = f"{found.username}:{found.password}".encode("utf-8", "surrogateescape")
    return "Basic " + binascii.b2a_base64(text, newline=False).decode()


def _belongs(host: str, registry: str) -> bool:
    """The same host, or both below one domain that somebody owns: registry-1.docker.io and auth.docker.io."""
    if host == registry:
        return True
    a, b = host.split("."), registry.split(".")
    if a[-1].isdigit() or b[-1].isdigit():
        return False
    # Of "example.co.uk" the last two labels belong to everybody.
    count = 3 if len(a) > 2 and len(a[-2]) <= 3 and len(a[-1]) == 2 else 2
    return len(a) >= count and len(b) >= count and a[-count:] == b[-count:]
