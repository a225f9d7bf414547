"""An ordinary user's networks: they live in one network namespace of his, R-net, which his monitors hold (docs/internals/networks.md).

What root does in the host's namespace is in the plan here: M makes R-net, its bridges and its rules, as only M can enter it.
"""

from __future__ import annotations

import binascii
import os

from wherry.errors import HostError
from wherry.kernel import native, process
from wherry.network import links
from wherry.store import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store import Store
    from wherry.store.networks import NetworkRow

    Steps = list[tuple[str, tuple[Any, ...]]]

# As native/link.h has them: what stands for the host in R-net, and where its name servers are asked.
HOST, NAMES = "169.254.1.2", "169.254.1.53"
_JOIN, _MAKE = 1, 2
# A restart must not write the tables as they once were.
_ONCE = 2


class RNet:
    """R-net as this command found it: a descriptor, or -1 where there is none yet."""

    def __init__(self, fd: int = -1, inode: int = 0, pid: int = 0) -> None:
        # Who enters it must be in the user namespace of the monitor that has it.
        self.fd, self.inode, self.pid = fd, inode, pid


def find(store: Store) -> RNet:
    """By a descriptor of the link's, or of a living monitor's that is a network namespace and not our own one."""
    try:
        with open(store.run_path("net", "link"), encoding="ascii") as file:
            pid, start, number = map(int, file.read().split())
        if process.start_time(pid) == start:
            fd = os.open(f"/proc/{pid}/fd/{number}", os.O_RDONLY | os.O_CLOEXEC)
            return RNet(fd, os.fstat(fd).st_ino, pid)
    except (OSError, ValueError):
        pass  # no link, or a dead one: the monitors have it, too
    return _of_monitors(store)


def _of_monitors(store: Store) -> RNet:
    own = os.stat("/proc/self/ns/net").st_ino
    for name in os.listdir(store.run_path("live")):
        folder = f"/proc/{name.partition('.')[0]}/fd"
        try:
            numbers = os.listdir(folder)
        except OSError:
            continue
        for number in numbers:
            try:
                if not os.readlink(f"{folder}/{number}").startswith("net:["):
                    continue
                fd = os.open(f"{folder}/{number}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            inode = os.fstat(fd).st_ino
            if inode != own:
                return RNet(fd, inode, int(name.partition(".")[0]))
            os.close(fd)
    return RNet()


def _signature(rows: list[NetworkRow]) -> str:
    text = "".join(f"{row.id}{row.record_text}" for row in rows)
    return f"{binascii.crc32(text.encode()):08x}"


def _bridges(store: Store) -> list[NetworkRow]:
    return [row for row in networks.everything(store.db) if row.driver == "bridge"]


class Setting:
    """How far R-net is made: `steps` bring it to where the database is. `done` notes that they have been performed."""

    def __init__(self, store: Store, rnet: RNet) -> None:
        self._store = store
        self._path = store.run_path("net", "written")
        self._wanted = f"{rnet.inode} {_signature(_bridges(store))}"
        self.rnet = rnet
        self.fresh = not rnet.inode or self._read() != self._wanted

    def _read(self) -> str:
        try:
            with open(self._path, encoding="ascii") as file:
                return file.read()
        except OSError:
            return ""

    def steps(self, used: list[NetworkRow]) -> Steps:
        store = self._store
        if self.rnet.fd < 0:
            # The kernel gives numbers of namespaces again: what was noted of an earlier one must not hold for the new one, should
            # the start that makes it fail before its rules are written.
            forget(self._store)
        found: Steps = [("NETNS_ROOT", (_JOIN if self.rnet.fd >= 0 else _MAKE, self.rnet.fd, store.run_path("net")))]
        for row in used:
            if row.driver == "bridge":
                found.append(("BRIDGE", bridge(row)))
        if self.fresh:
            found.append(("NFT", (links.batch(store), b"", _ONCE)))
        return found

    def done(self) -> None:
        """The rules are in force. The inode of an R-net that was just made is not known here: the next command looks it up."""
        inode = self.rnet.inode or find_inode(self._store)
        if not inode:
            return
        with open(self._path + ".new", "w", encoding="ascii") as file:
            file.write(f"{inode} {self._wanted.partition(' ')[2]}")
        os.rename(self._path + ".new", self._path)


def forget(store: Store) -> None:
    """R-net's rules don't count as written any more."""
    try:
        os.unlink(store.run_path("net", "written"))
    except FileNotFoundError:
        return


def find_inode(store: Store) -> int:
    found = find(store)
    if found.fd >= 0:
        os.close(found.fd)
    return found.inode


def bridge(row: NetworkRow) -> tuple[Any, ...]:
    """The fields of BRIDGE for a network."""
    record = row.record()
    given = tuple(f"{pool['Gateway']}/{pool['Subnet'].partition('/')[2]}" for pool in record["IPAM"]["Config"] if pool.get("Gateway"))
    return row.link, links.bridge_mac(row.id), given, links.mtu(record), 0


def check_kernel() -> None:
    """Raises HostError where an ordinary user can't have networks."""
    if not os.path.exists("/proc/sys/net/netfilter") and not os.path.exists("/proc/net/netfilter"):
        raise HostError("this kernel has no netfilter, which a user's networks need", hint="use --network none or host")


def operate(store: Store, steps: Steps) -> None:
    """Perform operations in R-net, if there is one: what changes while containers run. Raises HostError."""
    from wherry.runtime.plan import Plan

    rnet = find(store)
    if rnet.fd < 0:
        return
    try:
        user = os.open(f"/proc/{rnet.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        os.close(rnet.fd)
        return  # it ended just now, and with it R-net
    plan = Plan()
    for name, fields in steps:
        plan.add(name, *fields)
    plan.add("END")
    memory = os.memfd_create("wherry-plan", os.MFD_CLOEXEC)
    os.write(memory, plan.encode())
    os.lseek(memory, 0, os.SEEK_SET)
    fds = (user, rnet.fd, memory)
    actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds]
    try:
        child = os.posix_spawn(native.path(), ["wherry-native", "net", *map(str, fds)], {}, file_actions=actions)
        _, status = os.waitpid(child, 0)
    finally:
        for fd in fds:
            os.close(fd)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise HostError(f"cannot change the networks of the running containers: {os.strerror(code) if code > 0 else 'killed'}")


def bring_up(store: Store, rows: list[NetworkRow]) -> None:
    """A running container is about to be connected to these."""
    lock = links.rules_lock(store, shared=False)
    try:
        operate(store, [*(("BRIDGE", bridge(row)) for row in rows), ("NFT", (links.batch(store), b"", 0))])
    finally:
        lock.__exit__()


def take_down(store: Store, row: NetworkRow) -> None:
    """A network that is no more, while containers on others run."""
    lock = links.rules_lock(store, shared=False)
    try:
        operate(store, [("NFT", (links.batch(store), b"", 0)), ("UNLINK", (row.link, 0))])
    finally:
        lock.__exit__()
