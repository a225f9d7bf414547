"""Subnets for networks, addresses for endpoints. Pure: what is in use comes in as arguments."""

from __future__ import annotations

from wherry.errors import Conflict, HostError, InvalidArgument
from wherry.model import addresses
from wherry.model.addresses import Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def default_pools() -> Iterator[Subnet]:
    """docker's, in its order: 172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/16 in /20s (moby, ipamutils)."""
    for second in range(17, 32):
        yield Subnet(4, 172 << 24 | second << 16, 16)
    for third in range(0, 256, 16):
        yield Subnet(4, 192 << 24 | 168 << 16 | third << 8, 20)


def free_pool(taken: list[Subnet]) -> Subnet:
    """Raises HostError when every default pool overlaps with something."""
    for pool in default_pools():
        if not any(pool.overlaps(other) for other in taken):
            return pool
    raise HostError(
        "all predefined address pools have been fully subnetted",
        hint="name a subnet: --subnet 10.77.0.0/24; or remove networks: network prune",
    )


def free_pool6(seed: bytes, taken: list[Subnet]) -> Subnet:
    """A unique local /64 (RFC 4193) out of random bytes."""
    for step in range(1 << 16):
        middle = int.from_bytes(seed[:5], "big")
        found = Subnet(6, 0xFD << 120 | middle << 80 | (int.from_bytes(seed[5:7], "big") + step) % (1 << 16) << 64, 64)
        if not any(found.overlaps(other) for other in taken):
            return found
    raise HostError("no IPv6 subnet is free", hint="name one with --subnet")


def checked(pools: tuple[dict[str, Any], ...], *, ipv6: bool) -> list[dict[str, Any]]:
    """Pools as the user named them: subnets normal, gateway, range and auxiliary addresses inside. Raises InvalidArgument."""
    found: list[dict[str, Any]] = []
    seen: list[Subnet] = []
    for pool in pools:
        subnet = addresses.subnet(pool["Subnet"], strict=True)
        if subnet.version == 6 and not ipv6:
            raise InvalidArgument(f"IPv6 subnet {subnet.shown} on a network without IPv6", hint="add --ipv6")
        for other in seen:
            if other.overlaps(subnet):
                raise InvalidArgument(f"subnets {other.shown} and {subnet.shown} of the network overlap")
        seen.append(subnet)
        gateway = pool.get("Gateway") or ""
        if gateway and not _inside(subnet, gateway):
            raise InvalidArgument(f"invalid network config:\ninvalid gateway {gateway}: parent subnet {subnet.shown} doesn't contain it")
        span = pool.get("IPRange") or ""
        if span:
            inner = addresses.subnet(span)
            if inner.version != subnet.version or not (subnet.first <= inner.first and inner.last <= subnet.last):
                raise InvalidArgument(f"invalid network config:\ninvalid ip-range {span}: parent subnet {subnet.shown} doesn't contain it")
        for name, address in (pool.get("AuxiliaryAddresses") or {}).items():
            if not _inside(subnet, address):
                raise InvalidArgument(
                    f"invalid network config:\ninvalid auxiliary address {name}={address}: parent subnet {subnet.shown} doesn't contain it"
                )
        found.append(
            {"Subnet": subnet.shown, "IPRange": span, "Gateway": gateway, "AuxiliaryAddresses": pool.get("AuxiliaryAddresses") or {}}
        )
    return found


def _inside(subnet: Subnet, address: str) -> bool:
    return addresses.family(address) == subnet.version and subnet.holds(addresses.number(address))


def with_gateway(pool: dict[str, Any]) -> dict[str, Any]:
    """The first address that is nobody's: of the range, where there is one, as docker takes it."""
    if pool.get("Gateway"):
        return pool
    return pool | {"Gateway": _free(pool, set())}


def address(pool: dict[str, Any], used: set[str], wanted: str = "") -> str:
    """An address of `pool` for an endpoint: `wanted`, or the lowest free one. Raises InvalidArgument, Conflict, HostError."""
    taken = used | {pool.get("Gateway") or ""}
    if not wanted:
        return _free(pool, taken)
    if not _inside(addresses.subnet(pool["Subnet"]), wanted):
        raise InvalidArgument(f"no configured subnet contains IP address {wanted}")
    plain = addresses.text(addresses.number(wanted), addresses.family(wanted))
    if plain in taken or plain in (pool.get("AuxiliaryAddresses") or {}).values():
        raise Conflict("Address already in use")
    return plain


def _free(pool: dict[str, Any], used: set[str]) -> str:
    subnet = addresses.subnet(pool["Subnet"])
    span = addresses.subnet(pool["IPRange"]) if pool.get("IPRange") else subnet
    reserved = {addresses.number(a) for a in (pool.get("AuxiliaryAddresses") or {}).values()}
    numbers = {addresses.number(a) for a in used if a} | reserved
    if subnet.bits - subnet.prefix >= 2:
        # The network's own address and, in IPv4, the broadcast address.
        numbers |= {subnet.first} | ({subnet.last} if subnet.version == 4 else set())
    value = span.first
    while value in numbers:
        value += 1
    if value > span.last:
        raise HostError(f"no available IPv{subnet.version} addresses on this network's address pools: {span.shown}")
    return addresses.text(value, subnet.version)


def pool_of(pools: list[dict[str, Any]], version: int, wanted: str = "") -> dict[str, Any] | None:
    """The pool for an address of this family: the one that holds `wanted`, else the first."""
    mine = [p for p in pools if addresses.family(p["Subnet"].partition("/")[0]) == version]
    if wanted:
        for pool in mine:
            if _inside(addresses.subnet(pool["Subnet"]), wanted):
                return pool
        raise InvalidArgument(f"no configured subnet contains IP address {wanted}")
    return mine[0] if mine else None


def prefix_of(pool: dict[str, Any]) -> int:
    return int(pool["Subnet"].partition("/")[2])
