"""`network connect` and `disconnect`: of a container that runs or doesn't; and --link."""

from __future__ import annotations

import os

from wherry.engine import hostfiles, network_attach, network_launch
from wherry.errors import Conflict, InvalidArgument, MonitorError
from wherry.network import links, rules
from wherry.runtime import wire
from wherry.runtime.plan import Plan
from wherry.runtime.wire import Control
from wherry.store import actual, containers, networks
from wherry.store.locks import FolderLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.engine import Engine
    from wherry.engine.network_launch import Attached, Steps
    from wherry.model.network import EndpointRequest
    from wherry.store import Store
    from wherry.store.containers import ContainerRow
    from wherry.store.networks import NetworkRow

_RELOAD, _NAMES = 14, 12


def connect(engine: Engine, network: NetworkRow, container: str, request: EndpointRequest) -> None:
    """Raises Conflict, InvalidArgument, HostError."""
    store = engine.store
    row = containers.find(store.db, container)
    mode = row.record()["HostConfig"]["NetworkMode"]
    if mode.startswith("container:"):
        raise InvalidArgument("container sharing network namespace with another container or host cannot be connected to any other network")
    if mode == "host" or network.name == "host":
        raise InvalidArgument("container cannot be connected to host network or be disconnected from it", exit_code=1)
    if mode == "none" or network.name == "none":
        raise InvalidArgument("container cannot be connected to multiple networks with one of the networks in private (none) mode")
    network_attach.check(network, request)
    with FolderLock(store.path("containers", row.id), f"container: {row.name}"):
        endpoints = networks.endpoints(store.db, container_id=row.id)
        if any(e.network_id == network.id for e in endpoints):
            raise Conflict(f"endpoint with name {row.name} already exists in network {network.name}")
        position = max((e.position for e in endpoints), default=-1) + 1
        endpoint = network_attach.row_of(row.id, position, request.replace(network=network.id))
        state = actual.read(store, row)
        with store.db.transaction() as db:
            networks.attach(db, endpoint)
        if not state.alive:
            return
        try:
            _connect_running(store, row, network)
        except BaseException:
            networks.detach(store.db, row.id, network.id)
            raise
    _tell_names(store, row)


def _connect_running(store: Store, row: ContainerRow, network: NetworkRow) -> None:
    network_launch.bring_up(store, [network])
    lock = links.rules_lock(store, shared=True)
    try:
        network_launch.clean(store)
        endpoint = next(e for e in networks.endpoints(store.db, container_id=row.id) if e.network_id == network.id)
        attached = network_launch.lease(store, [(network, endpoint)])[0]
        everything = current(store, row)
        steps: Steps = []
        guards = links.guards(store, [attached.endpoint]) if network.driver == "bridge" else []
        table = links.table(store)
        if guards:
            steps.append(("NFT", (rules.come(table, guards, []), b"", 0)))
        # The way out stays what it was, if there was one.
        before = network_launch.default_way([a for a in everything if a.network.id != network.id])
        way = {version: before.get(version, attached) for version in (4, 6) if before.get(version) or attached.gateway(version)}
        steps.append(network_launch.link_step(store, attached, way))
        _perform(store, row, steps, everything)
    finally:
        lock.__exit__()


def disconnect(engine: Engine, network: NetworkRow, container: str, *, force: bool) -> None:
    """Raises Conflict when it isn't connected."""
    store = engine.store
    row = containers.find(store.db, container)
    with FolderLock(store.path("containers", row.id), f"container: {row.name}"):
        endpoint = next((e for e in networks.endpoints(store.db, container_id=row.id) if e.network_id == network.id), None)
        if endpoint is None:
            if row.record()["HostConfig"]["NetworkMode"] in ("host", "none") and network.name in ("host", "none"):
                raise InvalidArgument("container cannot be disconnected from host network or connected to host network", exit_code=1)
            raise Conflict(f"container {row.id} is not connected to network {network.name}")
        running = actual.read(store, row).alive and bool(endpoint.owner)
        networks.detach(store.db, row.id, network.id)
        if not running:
            return
        guards = links.guards(store, [endpoint]) if network.driver == "bridge" else []
        steps: Steps = []
        if guards:
            steps.append(("NFT", (rules.go(links.table(store), guards, []), b"", 1)))
        if network.driver == "bridge":
            steps.append(("UNLINK", (links.veth_name(store, row.id, endpoint.position), 0)))
        else:
            steps.append(("UNLINK", (endpoint.interface, 1)))
        everything = current(store, row)
        for version, item in network_launch.default_way(everything).items():
            # Another network becomes the way out; one that there is already stays.
            steps.append(("ROUTE", (item.endpoint.interface, f"default via {item.gateway(version)}")))
        _perform(store, row, steps, everything)
    _tell_names(store, row)
    _tell_network(store, network)


def current(store: Store, row: ContainerRow) -> list[Attached]:
    """The endpoints that a container has now."""
    found = {n.id: n for n in networks.everything(store.db)}
    return [
        network_launch.Attached(found[e.network_id], e, found[e.network_id].record())
        for e in networks.endpoints(store.db, container_id=row.id)
        if e.network_id in found and e.owner
    ]


def _perform(store: Store, row: ContainerRow, steps: Steps, everything: list[Attached]) -> None:
    """Tell the monitor: what to do now, and what a restart is to do from now on."""
    part = Plan()
    for name, fields in steps:
        part.add(name, *fields)
    part.add("END")
    folder = store.run_path(row.id)
    _write(folder + "/plan.part", part.encode())
    _write(folder + "/plan.new", _with_network(folder + "/plan", network_launch.steps_of(store, row.id, everything), everything))
    os.rename(folder + "/plan.new", folder + "/plan")
    with Control(folder) as control:
        answer = control.ask(_RELOAD)
        if not answer or wire.kind_of(answer) == wire.ERROR:
            code = wire.i64(answer, 0) if answer else 0
            raise MonitorError(f"the network of container {row.name} can't be changed: {os.strerror(code)}")


# Codes of the operations that `steps_of` makes anew.
_OURS = frozenset((14, 15, 16, 17, 18, 75, 76))
_RESOLVER, _NET_WAIT = 58, 59


def _with_network(path: str, steps: Steps, everything: list[Attached]) -> bytes:
    """The plan of a running container with other operations for its network, in the place of the old ones."""
    with open(path, "rb") as file:
        data = file.read()
    fresh = Plan()
    for name, fields in steps:
        fresh.add(name, *fields)
    encoded = fresh.encode()[8:]
    out = bytearray(data[:8])
    at, put = 8, False
    names = any(a.wants_names for a in everything)
    while at + 8 <= len(data):
        code = int.from_bytes(data[at : at + 2], "little")
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if code in _OURS or 20 <= code and not put:
            if not put:
                out += encoded
                put = True
            if code in _OURS:
                at = end
                continue
        if code != _RESOLVER:
            out += data[at:end]
        if code == _NET_WAIT and names:
            out += _RESOLVER.to_bytes(2, "little") + bytes(6)
        at = end
    return bytes(out)


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _tell_names(store: Store, row: ContainerRow) -> None:
    """/etc/hosts, the resolver's settings and the networks' files of names, as they are now."""
    record = row.record()
    attached = current(store, row)
    wiring = network_launch.Wiring(attached, [], None)
    hostfiles.rewrite_hosts(store, row, record, wiring)
    if wiring.resolver:
        hostfiles.write_resolving(store, row, record["HostConfig"], wiring)
        wiring.announce(store)
        with Control(store.run_path(row.id)) as control:
            control.ask(_NAMES)


def _tell_network(store: Store, network: NetworkRow) -> None:
    from wherry.engine import network_names

    if network.name != "bridge":
        network_names.write(store, network.id)


def link_lines(store: Store, given: list[str], attached: list[Attached]) -> list[str]:
    """Lines of /etc/hosts for --link NAME[:ALIAS]: docker's on the default bridge, and the alias on networks of the user's own."""
    mine = {a.network.id for a in attached}
    lines = []
    for text in given:
        name, _, alias = text.partition(":")
        other = containers.find(store.db, name)
        if not actual.read(store, other).alive:
            raise Conflict(f"Cannot link to a non running container: /{other.name} AS /{alias or name}")
        address = next(
            (e.ipv4 or e.ipv6 for e in networks.endpoints(store.db, container_id=other.id) if e.network_id in mine and e.owner), ""
        )
        if address:
            words = dict.fromkeys([alias or name, other.id[:12], other.name])
            lines.append(f"{address}\t{' '.join(words)}\n")
    return lines
