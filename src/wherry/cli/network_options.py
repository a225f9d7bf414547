"""--network of `run` and `create`, several of them, docker's long form included (docker/cli, opts/network.go)."""

from __future__ import annotations

from wherry.errors import InvalidArgument, UsageError
from wherry.model.network import EndpointRequest

_LISTS = ("alias", "driver-opt", "link-local-ip")


def parse(text: str) -> EndpointRequest:
    """NAME, or name=NAME,alias=…,ip=…,ip6=…,mac-address=…,driver-opt=K=V,gw-priority=N; podman's NAME:ip=…,mac=…,interface_name=…"""
    if "=" in text and not text.startswith("container:") and ":" not in text.partition("=")[0]:
        fields = text.split(",")
        name = ""
    else:
        name, colon, rest = text.partition(":")
        if not colon or name in ("container", "ns"):
            return EndpointRequest(text)
        fields = rest.split(",")
    found = EndpointRequest(name)
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        value = value.strip()
        if not equals:
            raise UsageError(f"invalid field: {field}")
        if key == "name" and not name:
            found = found.replace(network=value)
        elif key == "alias":
            found = found.replace(aliases=(*found.aliases, value))
        elif key in ("ip", "ip6"):
            found = found.replace(**{key: value})
        elif key in ("mac-address", "mac"):
            found = found.replace(mac=value)
        elif key in ("interface_name", "interface-name"):
            found = found.replace(interface=value)
        elif key == "driver-opt":
            option, _, setting = value.partition("=")
            if option == "com.docker.network.endpoint.ifname":
                found = found.replace(interface=setting)
            found = found.replace(options=found.options | {option: setting})
        elif key == "gw-priority":
            try:
                found = found.replace(priority=int(value))
            except ValueError:
                raise UsageError(f"invalid gw-priority: {value}") from None
        elif key == "link-local-ip":
            raise UsageError("link-local-ip is not supported: set the address in the container")
        else:
            raise UsageError(f"invalid field key {key}")
    if not found.network:
        raise UsageError("network name/id is not specified")
    return found


def endpoints(
    given: list[str], aliases: list[str], ip: str, ip6: str, mac: str, links: list[str]
) -> tuple[str, tuple[EndpointRequest, ...]]:
    """(NetworkMode, endpoints). The plain flags belong to the first network. Raises UsageError, InvalidArgument."""
    found = [parse(text) for text in given] or [EndpointRequest("default")]
    first = found[0]
    for flag, short, long in (("network-alias", bool(aliases), first.aliases), ("ip", bool(ip), first.ip), ("ip6", bool(ip6), first.ip6),
                              ("mac-address", bool(mac), first.mac)):  # fmt: skip
        if short and long:
            raise InvalidArgument(f"conflicting options: cannot specify both --{flag} and per-network {flag}")
    found[0] = first.replace(
        aliases=first.aliases or tuple(aliases), ip=first.ip or ip, ip6=first.ip6 or ip6, mac=first.mac or mac, links=tuple(links)
    )
    special = [f.network for f in found if f.network in ("host", "none") or f.network.startswith("container:")]
    if special and len(found) > 1:
        raise InvalidArgument("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    return found[0].network, tuple(found)
