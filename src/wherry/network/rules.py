"""What our tables hold: written as a whole when a network comes or goes, one element at a time when a container does.

`inet`: published ports by maps, masquerading, and what may be forwarded. `bridge`: no container says to be another one.
Nothing of anybody else's is read or changed.
"""

from __future__ import annotations

from wherry.model import addresses
from wherry.model.record import Record
from wherry.network import nft
from wherry.network.nft import Batch

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_SOURCE4, _TARGET4, _SOURCE6, _TARGET6 = 12, 16, 8, 24
_ETHER_IP4, _ETHER_ARP, _ETHER_IP6 = b"\x08\x00", b"\x08\x06", b"\x86\xdd"


class Wall(Record):
    """A network as the rules see it. `subnets` are texts; those of `masqueraded` leave with the host's address."""

    link: str
    subnets: tuple[str, ...]
    masquerade: bool = True
    internal: bool = False
    icc: bool = True


class Guard(Record):
    """Who may send through a veth: `address` is what it was given."""

    veth: str
    mac: str
    address: str


class Binding(Record):
    """A published port. `host_ip` is an address, 0.0.0.0 and :: included."""

    protocol: str
    host_ip: str
    host_port: int
    address: str
    port: int


def whole(
    table: str,
    veths: str,
    walls: list[Wall],
    guards: list[Guard],
    bindings: list[Binding],
    *,
    blocked: tuple[str, ...] = (),
    inner: bool = False,
) -> bytes:
    """The batch that makes our tables anew. `veths`: how the names of our links begin, with * behind. `blocked`: addresses outside
    that no container reaches. `inner`: in a user's R-net, where the link does what NAT does elsewhere."""
    batch = Batch(nft.INET, table)
    batch.drop_table()
    if walls:
        _inet(batch, walls, blocked, inner)
        if not inner:
            _add_bindings(batch, bindings)
    batch.family = nft.BRIDGE
    batch.drop_table()
    if walls:
        _bridge(batch, veths)
        _add_guards(batch, guards)
    return batch.encoded()


def _inet(batch: Batch, walls: list[Wall], blocked: tuple[str, ...], inner: bool) -> None:
    batch.new_table()
    batch.set("links", ("ifname",))
    batch.add("links", [(nft.name16(wall.link), b"") for wall in walls])
    if not inner:
        _translation(batch, walls)
    batch.chain("forward", "filter", nft.FORWARD, nft.FILTER)
    for address in blocked:
        four = addresses.family(address) == 4
        offset, proto = (_TARGET4, nft.IPV4) if four else (_TARGET6, nft.IPV6)
        batch.rule(
            "forward",
            *_from_links(),
            nft.protocol(proto),
            nft.in_subnet(offset, addresses.packed(address), 32 if four else 128),
            nft.verdict(nft.DROP),
        )
    for wall in walls:
        _forwarding(batch, wall, inner)


def _translation(batch: Batch, walls: list[Wall]) -> None:
    batch.set("ports4", ("proto", "port"), ("ipv4", "port"))
    batch.set("ports4_at", ("ipv4", "proto", "port"), ("ipv4", "port"))
    batch.set("ports6", ("proto", "port"), ("ipv6", "port"))
    batch.set("ports6_at", ("ipv6", "proto", "port"), ("ipv6", "port"))
    batch.chain("published")
    _published(batch)
    for name, hook in (("prerouting", nft.PREROUTING), ("output", nft.OUTPUT)):
        batch.chain(name, "nat", hook, nft.DSTNAT)
        batch.rule(name, nft.to_local_address(), _jump("published"))
    batch.chain("guard", "filter", nft.PREROUTING, nft.RAW)
    # Where clients on the host's loopback are let through to a bridge (route_localnet), nobody comes back that way.
    batch.rule("guard", *_from_links(), nft.protocol(nft.IPV4), nft.in_subnet(_TARGET4, b"\x7f\0\0\0", 8), nft.verdict(nft.DROP))
    batch.chain("postrouting", "nat", nft.POSTROUTING, nft.SRCNAT)
    for wall in walls:
        _masquerading(batch, wall)


def _from_links() -> tuple[bytes, bytes]:
    return nft.meta(nft.META_IIFNAME), nft.lookup("links")


def _jump(chain: str) -> bytes:
    # NFT_JUMP is -3; the chain's name stands beside it.
    return nft.nested(
        1, nft.text(1, "immediate"), nft.nested(2, nft.number(1, 0), nft.nested(2, nft.nested(2, nft.number(1, -3), nft.text(2, chain))))
    )


def _published(batch: Batch) -> None:
    """First the bindings to an address of their own, then those to all."""
    r0 = nft.R0
    for family, target, size, name in ((nft.IPV4, _TARGET4, 4, "ports4"), (nft.IPV6, _TARGET6, 16, "ports6")):
        words = size // 4
        batch.rule(
            "published",
            nft.protocol(family),
            nft.payload(nft.NETWORK_HEADER, target, size, r0),
            nft.meta(nft.META_L4PROTO, r0 + words),
            nft.payload(nft.TRANSPORT_HEADER, 2, 2, r0 + words + 1),
            nft.lookup(name + "_at", into=r0),
            nft.translated(family, r0, r0 + words),
        )
        batch.rule(
            "published",
            nft.protocol(family),
            nft.meta(nft.META_L4PROTO, r0),
            nft.payload(nft.TRANSPORT_HEADER, 2, 2, r0 + 1),
            nft.lookup(name, into=r0),
            nft.translated(family, r0, r0 + words),
        )


def _masquerading(batch: Batch, wall: Wall) -> None:
    for text in wall.subnets:
        subnet = addresses.subnet(text)
        first = addresses.packed(addresses.text(subnet.first, subnet.version))
        family, source, target = (nft.IPV4, _SOURCE4, _TARGET4) if subnet.version == 4 else (nft.IPV6, _SOURCE6, _TARGET6)
        inside = nft.in_subnet(source, first, subnet.prefix)
        if wall.masquerade and not wall.internal:
            batch.rule("postrouting", nft.protocol(family), inside, nft.interface(nft.META_OIFNAME, wall.link, nft.NEQ), nft.masquerade())
        # A container that comes to a published port of its own network: the answer must pass the host again.
        to_own = (nft.interface(nft.META_OIFNAME, wall.link), nft.in_subnet(target, first, subnet.prefix))
        batch.rule("postrouting", nft.protocol(family), nft.conntrack_translated(), inside, *to_own, nft.masquerade())
        if family == nft.IPV4:
            loopback = nft.in_subnet(source, b"\x7f\0\0\0", 8)
            batch.rule("postrouting", nft.protocol(family), loopback, nft.interface(nft.META_OIFNAME, wall.link), nft.masquerade())


def _forwarding(batch: Batch, wall: Wall, inner: bool) -> None:
    """Out is free; in comes what belongs to a connection, what was published, and nothing else: no other network, no neighbour."""
    to, of = nft.interface(nft.META_OIFNAME, wall.link), nft.interface(nft.META_IIFNAME, wall.link)
    # With br_netfilter what stays on the bridge passes here, too.
    batch.rule("forward", to, of, nft.verdict(nft.ACCEPT if wall.icc else nft.DROP))
    if wall.internal:
        batch.rule("forward", of, nft.verdict(nft.DROP))
        batch.rule("forward", to, nft.verdict(nft.DROP))
        return
    if not inner:  # in R-net nothing is forwarded in: what comes from outside comes from a socket of the link's
        batch.rule("forward", to, nft.conntrack_state(6), nft.verdict(nft.ACCEPT))
        batch.rule("forward", to, nft.conntrack_translated(), nft.verdict(nft.ACCEPT))
    batch.rule("forward", to, nft.verdict(nft.DROP))


def _bridge(batch: Batch, veths: str) -> None:
    batch.new_table()
    batch.set("guard4", ("ifname", "mac", "ipv4"))
    batch.set("guard6", ("ifname", "mac", "ipv6"))
    batch.chain("guard", "filter", nft.PREROUTING, nft.BRIDGE_DSTNAT)
    r0 = nft.R0
    who = (nft.meta(nft.META_IIFNAME, r0), nft.payload(nft.LINK_HEADER, 6, 6, r0 + 4))
    own = (nft.interface(nft.META_IIFNAME, veths),)
    for kind, offset in ((_ETHER_IP4, _SOURCE4), (_ETHER_ARP, 14)):
        batch.rule(
            "guard",
            *own,
            _ether(kind),
            *who,
            nft.payload(nft.NETWORK_HEADER, offset, 4, r0 + 6),
            nft.lookup("guard4", inverted=True),
            nft.verdict(nft.DROP),
        )
    # Link-local addresses and the search for neighbours are everybody's.
    batch.rule("guard", *own, _ether(_ETHER_IP6), nft.in_subnet(_SOURCE6, b"\xfe\x80" + bytes(14), 10), nft.verdict(nft.ACCEPT))
    batch.rule("guard", *own, _ether(_ETHER_IP6), nft.in_subnet(_SOURCE6, bytes(16), 128), nft.verdict(nft.ACCEPT))
    batch.rule(
        "guard",
        *own,
        _ether(_ETHER_IP6),
        *who,
        nft.payload(nft.NETWORK_HEADER, _SOURCE6, 16, r0 + 6),
        nft.lookup("guard6", inverted=True),
        nft.verdict(nft.DROP),
    )


def _ether(kind: bytes) -> bytes:
    return nft.payload(nft.LINK_HEADER, 12, 2) + nft.compare(kind)


# -- elements ------------------------------------------------------------------------------------------------------------


def _guard(guard: Guard) -> tuple[str, bytes]:
    address = addresses.packed(guard.address)
    key = nft.name16(guard.veth) + nft.padded(bytes.fromhex(guard.mac.replace(":", ""))) + address
    return "guard4" if len(address) == 4 else "guard6", key


def _binding(binding: Binding) -> tuple[str, bytes, bytes]:
    address = addresses.packed(binding.address)
    name = "ports4" if len(address) == 4 else "ports6"
    key = nft.padded(bytes((PROTOCOLS[binding.protocol],))) + nft.padded(binding.host_port.to_bytes(2, "big"))
    host = addresses.packed(binding.host_ip)
    if any(host):
        name, key = name + "_at", host + key
    return name, key, address + nft.padded(binding.port.to_bytes(2, "big"))


def _usable(binding: Binding) -> bool:
    """A kernel translates within one family; the other one's clients need a process in between."""
    return addresses.family(binding.host_ip) == addresses.family(binding.address)


def _add_guards(batch: Batch, guards: list[Guard]) -> None:
    batch.family = nft.BRIDGE
    for name in ("guard4", "guard6"):
        batch.add(name, [(key, b"") for found, key in map(_guard, guards) if found == name])


def _add_bindings(batch: Batch, bindings: list[Binding]) -> None:
    batch.family = nft.INET
    keyed = [_binding(b) for b in bindings if _usable(b)]
    for name in ("ports4", "ports4_at", "ports6", "ports6_at"):
        batch.add(name, [(key, data) for found, key, data in keyed if found == name])


def come(table: str, guards: list[Guard], bindings: list[Binding]) -> bytes:
    """The batch for a container that starts."""
    batch = Batch(nft.INET, table)
    _add_bindings(batch, bindings)
    _add_guards(batch, guards)
    return batch.encoded()


def go(table: str, guards: list[Guard], bindings: list[Binding]) -> bytes:
    """Batches for one that has ended, one for each element: what is gone already must not keep the others."""
    out = b""
    for name, key, _data in (_binding(b) for b in bindings if _usable(b)):
        batch = Batch(nft.INET, table)
        batch.remove(name, [key])
        out += batch.encoded()
    for name, key in map(_guard, guards):
        batch = Batch(nft.BRIDGE, table)
        batch.remove(name, [key])
        out += batch.encoded()
    return out
