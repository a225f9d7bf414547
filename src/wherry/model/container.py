"""What callers ask of containers, and what listings answer."""

from __future__ import annotations

from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.model.mounts import MountSpec
    from wherry.model.network import EndpointRequest
    from wherry.model.secret import SecretSpec


class CreateRequest(Record):
    """A container to create. `config` and `host` have the shape of docker's API (Config, HostConfig).

    An entry of Config.Env without "=" takes the image's variable away; Entrypoint [""] takes its entrypoint away.
    """

    image: str
    config: dict[str, Any]
    host: dict[str, Any]
    name: str = ""
    mounts: tuple[MountSpec, ...] = ()
    networks: tuple[EndpointRequest, ...] = ()
    pull: str = "missing"
    platform: str = ""
    cidfile: str = ""
    quiet: bool = False
    secrets: tuple[SecretSpec, ...] = ()
    # podman's: take the place of a container with that name; variables below those of the image; none of the image's.
    replace_other: bool = False
    low_env: tuple[str, ...] = ()
    no_image_env: bool = False
    # The folder of a root file system instead of an image; ":O" behind it for one that stays as it is.
    rootfs: str = ""


class ExecRequest(Record):
    """A process to run in a container."""

    cmd: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    detach: bool = False
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    privileged: bool = False
    detach_keys: str = ""


class ContainerSummary(Record):
    """A line of `ps`. Sizes in bytes, -1 when not asked for; `created_ns` since the epoch."""

    id: str
    names: tuple[str, ...]
    image: str
    image_id: str
    command: str
    created_ns: int
    status_text: str
    state: str
    ports_text: str
    size_rw: int
    size_rootfs: int
    labels: dict[str, str]
    mounts: tuple[str, ...]
    networks: tuple[str, ...]
    local_volumes: int
    health: str = ""
