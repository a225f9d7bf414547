"""What pulls and pushes share: wishes, progress, and who to talk to."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.registry.client import Repository
    from wherry.registry.credentials import Credentials
    from wherry.registry.endpoints import Endpoint

    # (layer's short digest or tag, status in docker's words, bytes there, bytes in all); an empty first is a line by itself
    Progress = Callable[[str, str, int, int], None]


class Access(Record):
    """How to reach a registry: what stands in for the configuration files. `creds` is "user" or "user:password".

    `tls_verify` None: as configured.
    """

    authfile: str = ""
    creds: str = ""
    cert_dir: str = ""
    tls_verify: bool | None = None
    retries: int = 5
    retry_delay_s: float = 0.5
    policy: str = ""

    def repository(self, endpoint: Endpoint, *, push: bool = False) -> Repository:
        from wherry.registry.client import Repository
        from wherry.registry.credentials import CredentialStore
        from wherry.registry.transport import Options

        return Repository(
            endpoint,
            CredentialStore(self.authfile),
            Options(self.retries, self.retry_delay_s, self.cert_dir),
            own=self._own(),
            push=push,
        )

    def _own(self) -> Credentials | None:
        if not self.creds:
            return None
        name, colon, password = self.creds.partition(":")
        if not name:
            raise InvalidArgument("credentials need a user name: USER:PASSWORD")
        from wherry.registry.credentials import Credentials

        return Credentials(name, password)


def silent(_name: str, _status: str, _there: int, _all: int) -> None:
    return


def short(digest: str) -> str:
    return digest.partition(":")[2][:12]


def host_platform() -> tuple[str, str]:
    """This machine's system and architecture."""
    from wherry.model.platform import host

    return host().os, host().architecture
