"""Who gets credentials, and who does not."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.fake import FakeRegistry, layer
from wherry.engine import Engine
from wherry.engine import registry as registries
from wherry.engine.transfer import Access
from wherry.engine.transfer_pull import Wishes
from wherry.errors import AccessDenied, HostError, RegistryError
from wherry.registry import auth, challenge, endpoints, proxy
from wherry.registry.credentials import Credentials, CredentialStore

SECRET = "me:open sesame"


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    found = FakeRegistry()
    yield found
    found.close()


def login(home: Path, server: str, name: str = "me", password: str = "open sesame") -> None:
    CredentialStore().save(server, Credentials(name, password))


def sent(registry: FakeRegistry) -> list[str]:
    return [headers.get("Authorization", "") for _method, _path, headers in registry.requests]


def test_basic(engine: Engine, registry: FakeRegistry, quick: Wishes, nobodys_settings: Path) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    registry.basic = SECRET
    with pytest.raises(AccessDenied, match="pull access denied for .*/app, repository does not exist or may require 'docker login'"):
        engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    login(nobodys_settings, registry.host, password="wrong")
    with pytest.raises(AccessDenied, match="unauthorized"):
        engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    login(nobodys_settings, registry.host)
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)


def test_bearer_from_the_registrys_own_token_server(
    engine: Engine, registry: FakeRegistry, other: FakeRegistry, quick: Wishes, nobodys_settings: Path
) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    registry.realm = f"http://{other.host}/token"
    other.basic = SECRET
    login(nobodys_settings, registry.host)
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    assert len(other.requests) == 1
    path = other.requests[0][1]
    assert "service=the+service" in path and "scope=repository%3Ax%3Apull" in path and "account=me" in path
    assert not any("Basic" in header for header in sent(registry))


def test_a_token_that_expired_is_renewed(
    engine: Engine, registry: FakeRegistry, other: FakeRegistry, quick: Wishes, nobodys_settings: Path
) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    registry.realm = f"http://{other.host}/token"

    def expire(handler: Any) -> bool:
        if "/blobs/" in handler.path and registry.token == "a-token":
            registry.token = other.token = "another"
        return False

    registry.hook = expire
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    assert len(other.requests) == 2


def test_a_realm_on_another_host_gets_no_credentials(
    engine: Engine, registry: FakeRegistry, other: FakeRegistry, quick: Wishes, nobodys_settings: Path
) -> None:
    port = other.host.partition(":")[2]
    registry.realm = f"http://localhost:{port}/token"
    registry.add_image("app", "1", [layer({"a": b"x"})])
    login(nobodys_settings, registry.host)
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    assert len(other.requests) == 1 and sent(other) == [""]
    assert "account" not in other.requests[0][1]
    # What is kept for the realm's own host it does get.
    login(nobodys_settings, f"localhost:{port}", "them", "x")
    registry.token = other.token = "new"
    engine.images.remove(f"{registry.host}/app:1")
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    assert sent(other)[-1] == "Basic " + base64.b64encode(b"them:x").decode()


@pytest.mark.parametrize(
    ("host", "registry_host", "belongs"),
    [
        ("auth.docker.io", "registry-1.docker.io", True),
        ("gitlab.com", "registry.gitlab.com", True),
        ("evil.com", "registry.example.com", False),
        ("evil.co.uk", "shop.co.uk", False),
        ("auth.shop.co.uk", "registry.shop.co.uk", True),
        ("10.0.0.2", "10.0.0.1", False),
        ("example.com.evil.net", "example.com", False),
        ("localhost", "127.0.0.1", False),
    ],
)
def test_which_hosts_belong_together(host: str, registry_host: str, belongs: bool) -> None:
    assert auth._belongs(host, registry_host) is belongs


def test_redirects_lose_the_credentials(
    engine: Engine, registry: FakeRegistry, other: FakeRegistry, quick: Wishes, nobodys_settings: Path
) -> None:
    registry.add_image("app", "1", [layer({"a": b"x"})])
    registry.basic = SECRET
    other.blobs = registry.blobs

    def away(handler: Any) -> bool:
        if "/blobs/" not in handler.path or "Authorization" not in handler.headers:
            return False
        handler.answer(307, b"", {"Location": f"http://{other.host}{handler.path}"})
        return True

    registry.hook = away
    login(nobodys_settings, registry.host)
    engine.images.pull(f"{registry.host}/app:1", wishes=quick)
    assert len(other.requests) == 2 and sent(other) == ["", ""]


def test_redirect_loops_end(engine: Engine, registry: FakeRegistry, quick: Wishes) -> None:
    registry.hook = lambda handler: "/manifests/" in handler.path and not handler.answer(302, b"", {"Location": handler.path})
    with pytest.raises(RegistryError, match="redirects more than 5 times"):
        engine.images.pull(f"{registry.host}/app:1", wishes=quick)


def test_login_keeps_what_works_and_nothing_else(registry: FakeRegistry, nobodys_settings: Path) -> None:
    registry.basic = SECRET
    file = nobodys_settings / ".docker/config.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"psFormat": "x", "auths": {"other": {"auth": "YTpi"}}}))
    with pytest.raises(AccessDenied, match='Get "http://.*/v2/": unauthorized'):
        registries.login(registry.host, "me", "wrong", Access())
    assert registry.host not in file.read_text()
    assert registries.login(registry.host, "me", "open sesame", Access()) == str(file)
    found = json.loads(file.read_text())
    assert found["auths"][registry.host] == {"auth": base64.b64encode(SECRET.encode()).decode()}
    assert found["psFormat"] == "x" and "other" in found["auths"]
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert registries.login_name(registry.host, Access()) == "me"
    assert registries.logout(registry.host, Access()) and not registries.logout(registry.host, Access())
    assert registry.host not in file.read_text()


def test_credential_helpers(nobodys_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = nobodys_settings / "bin/docker-credential-mine"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nread line\necho "$1 $line" >> $HOME/calls\n'
        'case "$1 $line" in\n"get reg.example") echo \'{"Username":"u","Secret":"s"}\';;\n'
        '"get tok.example") echo \'{"Username":"<token>","Secret":"t"}\';;\nget*) echo "credentials not found in native keychain"; exit 1;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    config = nobodys_settings / ".docker/config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"credHelpers": {"reg.example": "mine"}, "credsStore": "mine"}))
    store = CredentialStore()
    assert store.find("reg.example") == Credentials("u", "s")
    assert store.find("tok.example") == Credentials(identity_token="t")
    assert store.find("nobody.example") is None
    assert store.save("new.example", Credentials("a", "b")) == ""
    assert json.loads(config.read_text())["auths"]["new.example"] == {}
    assert 'store {"ServerURL":"new.example","Username":"a","Secret":"b"}' in (nobodys_settings / "calls").read_text()
    config.write_text(json.dumps({"credsStore": "../evil"}))
    with pytest.raises(HostError):
        store.find("reg.example")


def test_files_of_containers_and_their_longest_key(nobodys_settings: Path) -> None:
    file = nobodys_settings / "run/containers/auth.json"
    file.parent.mkdir(parents=True)
    entry = {name: {"auth": base64.b64encode(f"{name}:p".encode()).decode()} for name in ("a", "b")}
    file.write_text(json.dumps({"auths": {"quay.io": entry["a"], "quay.io/team": entry["b"]}}))
    store = CredentialStore()
    for path, name in (("x/y", "a"), ("team/y", "b"), ("teams", "a")):
        found = store.find("quay.io", path)
        assert found is not None and found.username == name
    assert store.find("docker.io", "library/x") is None


def test_no_secret_in_a_repr() -> None:
    assert "hidden" not in repr(Credentials("me", "hidden", "hidden", "hidden"))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"', [("bearer", "https://a/t")]),
        ('Basic realm="a \\"b\\""', [("basic", 'a "b"')]),
        ('Negotiate, Bearer realm=https://a , Basic realm="x"', [("negotiate", None), ("bearer", "https://a"), ("basic", "x")]),
        ("", []),
        ('=,="', []),
    ],
)
def test_challenges(header: str, found: list[tuple[str, str | None]]) -> None:
    assert [(c.scheme, c.parameters.get("realm")) for c in challenge.parse(header)] == found


@pytest.mark.parametrize(
    ("host", "no_proxy", "used"),
    [
        ("reg.example", "", True),
        ("reg.example", "example", False),
        ("reg.example", ".example", False),
        ("notexample", "example", True),
        ("reg.example:5000", "reg.example:5001", True),
        ("reg.example:5000", "reg.example:5000", False),
        ("10.1.2.3", "10.0.0.0/8", False),
        ("reg.example", "*", False),
        ("localhost:5000", "", False),
        ("127.0.0.1", "", False),
    ],
)
def test_proxies(monkeypatch: pytest.MonkeyPatch, host: str, no_proxy: str, used: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert bool(proxy.proxy_for("https", host)) is used


def test_which_registries_may_be_plain(nobodys_settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = endpoints.Settings(
        [{"location": "old.example", "insecure": True}], {}, {"insecure-registries": ["in.example:5000", "10.0.0.0/8"]}, ""
    )
    for server, insecure in (
        ("old.example", True),
        ("in.example:5000", True),
        ("in.example", False),
        ("10.9.8.7:5000", True),
        ("11.0.0.1", False),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("reg.example", False),
    ):
        assert settings.of_server(server).insecure is insecure, server
    assert settings.of_server("localhost", True).insecure is False
    assert settings.of_server("reg.example", False).insecure is True
