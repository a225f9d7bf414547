"""Registries as such: log in and out, search, and have an image at hand before a container is made of it."""

from __future__ import annotations

from wherry.engine.transfer import Access
from wherry.errors import AccessDenied, InvalidArgument, NotFound, RegistryError
from wherry.model import reference
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine import Engine
    from wherry.engine.transfer import Progress
    from wherry.engine.transfer_pull import Wishes
    from wherry.registry.client import Repository

POLICIES = ("always", "missing", "never", "newer")


def ensure(
    engine: Engine, name: str, policy: str, *, platform: str = "", wishes: Wishes | None = None, progress: Progress | None = None
) -> str:
    """The image of a container-to-be is here when this returns; gives its id. `policy` is that of `run --pull`.

    Raises NotFound (never), and what a pull raises; "newer" and "always" differ in what an unreachable registry means: "newer" is
    content with an image that is here.
    """
    from wherry.engine.transfer_pull import Wishes, pull

    if policy not in POLICIES:
        raise InvalidArgument(f"invalid pull option: '{policy}': must be one of {', '.join(POLICIES)}", exit_code=125)
    wanted = wishes or Wishes(platform=platform)
    if policy in ("missing", "never") or _is_id(name):
        held = _held(engine, name, wanted.platform)
        if held:
            return held
        if policy == "never" or _is_id(name):
            raise NotFound(f"No such image: {_shown(name)}")
        if progress is not None:
            progress("", f"Unable to find image '{_shown(name)}' locally", 0, 0)
    try:
        return pull(engine.store, name, wanted, progress).id
    except (RegistryError, NotFound):
        held = _held(engine, name, wanted.platform) if policy == "newer" else ""
        if held:
            return held
        raise


def _shown(name: str) -> str:
    try:
        return reference.parse(name).tagged().familiar
    except InvalidArgument:
        return name


def _is_id(name: str) -> bool:
    return name.startswith("sha256:") or len(name) == 64 and all(c in "0123456789abcdef" for c in name)


def _held(engine: Engine, name: str, platform: str) -> str:
    from wherry.store import images

    try:
        row = images.find(engine.store.db, name)
    except NotFound:
        return ""
    if platform:
        from wherry.model import platform as platforms

        wanted = platforms.parse(platform)
        if (row.os, row.architecture) != (wanted.os, wanted.architecture):
            return ""
    return row.id


class SearchResult(Record):
    """A line of `search`."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False


def login(server: str, username: str, password: str, access: Access) -> str:
    """Try the credentials at the registry and keep them. Returns the file that has them unencrypted, "" when a helper does.

    Raises AccessDenied with docker's words, RegistryError, HostError.
    """
    from wherry.registry import endpoints
    from wherry.registry.client import Repository
    from wherry.registry.credentials import Credentials, CredentialStore
    from wherry.registry.transport import Options

    store = CredentialStore(access.authfile)
    endpoint = endpoints.load().of_server(server, access.tls_verify)
    own = Credentials(username, password)
    repository = Repository(endpoint, store, Options(min(access.retries, 1), access.retry_delay_s, access.cert_dir), own=own)
    try:
        with repository:
            repository.ping()
    except AccessDenied as error:
        raise AccessDenied(f'Get "{repository.transport.url("/v2/")}": {error.message}') from error
    return store.save(server, own)


def logout(server: str, access: Access) -> bool:
    """Forget the credentials of a server; whether there were any."""
    from wherry.registry.credentials import CredentialStore

    return CredentialStore(access.authfile).forget(server)


def logged_in(access: Access) -> list[str]:
    """The servers that credentials are kept for."""
    from wherry.registry.credentials import CredentialStore

    return CredentialStore(access.authfile).servers()


def login_name(server: str, access: Access) -> str:
    """The user that we are at a server, "" when there are no credentials."""
    from wherry.registry.credentials import CredentialStore

    found = CredentialStore(access.authfile).find(server)
    return found.username if found else ""


def server_name(text: str) -> str:
    """What people type for a server as credentials are kept under it: no scheme, no path; nothing at all is the Hub."""
    name = text.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "docker.io" if name in ("", "docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com") else name


def search(term: str, limit: int, access: Access) -> list[SearchResult]:
    """The Hub's search, or for "HOST/TERM" that registry's own or its catalogue. Raises RegistryError."""
    from wherry.registry import endpoints

    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        server, words = first, rest
    else:
        server, words = "docker.io", term
    settings = endpoints.load()
    endpoint = settings.of_server("index.docker.io" if server == "docker.io" else server, access.tls_verify)
    if server == "docker.io":
        endpoint = endpoint.replace(host="index.docker.io")
    with access.repository(endpoint) as repository:
        return _search(repository, server, words, limit)


def _search(repository: Repository, server: str, words: str, limit: int) -> list[SearchResult]:
    from wherry.model import jsontext
    from wherry.registry.client import Missing
    from wherry.registry.transport import with_query

    if server != "docker.io":
        try:
            return [SearchResult(f"{server}/{name}") for name in repository.catalog() if words in name][:limit]
        except (Missing, RegistryError):
            # Some registries have no catalogue but the Hub's old search.
            pass
    url = with_query(repository.transport.url("/v1/search"), (("q", words), ("n", str(limit))))
    with repository.request("GET", url) as answer:
        if answer.status != 200:
            raise RegistryError(f"{server} can't be searched: it answers with status {answer.status}")
        document = jsontext.loads(answer.whole(4 << 20))
    prefix = "" if server == "docker.io" else server + "/"
    return [
        SearchResult(
            prefix + str(r.get("name") or ""),
            str(r.get("description") or ""),
            int(r.get("star_count") or 0),
            bool(r.get("is_official")),
            bool(r.get("is_automated")),
        )
        for r in document.get("results") or ()
    ][:limit]


def tags(name: str, access: Access) -> list[str]:
    """`search --list-tags`: every tag of a repository. Raises RegistryError."""
    from wherry.registry import endpoints

    ref = reference.parse(name)
    with access.repository(endpoints.load().pull_from(ref, access.tls_verify)[-1]) as repository:
        return repository.tags()
