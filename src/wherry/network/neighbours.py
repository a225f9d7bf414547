"""Other people's firewalls: where a chain of iptables drops what is forwarded (docker and ufw set that policy), our bridges need a rule in it.

An accept in our own table does not help there: a packet must pass all chains of a hook. So one marked rule for each bridge and
direction goes into DOCKER-USER, which docker leaves to others, else into FORWARD; they leave with the bridge. Programs are executed
here, and only when a network is made or the rules are put back: never in the path of a `run`.
"""

from __future__ import annotations

import os

MARK = "wherry"
_PROGRAMS = ("iptables", "ip6tables")
_PLACES = ("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin")


def let_through(links: list[str]) -> None:
    """Make the rules for `links` where somebody's policy would drop what they forward. Those that are there stay."""
    for program in _PROGRAMS:
        path = _path(program)
        chain = _dropping_chain(path) if path else ""
        if not chain:
            continue
        have = _run(path, "-S", chain)
        for link in links:
            for direction in ("-i", "-o"):
                rule = (direction, link, "-m", "comment", "--comment", MARK, "-j", "ACCEPT")
                if f"-A {chain} {' '.join(rule)}" not in have.replace('"', ""):
                    _run(path, "-I", chain, *rule)


def forget(links: list[str]) -> None:
    for program in _PROGRAMS:
        path = _path(program)
        if not path:
            continue
        for chain in ("DOCKER-USER", "FORWARD"):
            for line in _run(path, "-S", chain).splitlines():
                words = line.replace('"', "").split()
                if MARK in words and any(link in words for link in links) and words[:1] == ["-A"]:
                    _run(path, "-D", *words[1:])


def _path(program: str) -> str:
    return next((f"{folder}/{program}" for folder in _PLACES if os.access(f"{folder}/{program}", os.X_OK)), "")


def _dropping_chain(path: str) -> str:
    """Where our rules belong; "" where nothing is dropped. Without any rule of iptables nothing is looked up, so that no table is made."""
    if not _uses_iptables():
        return ""
    text = _run(path, "-S")
    if "-P FORWARD DROP" not in text:
        return ""
    return "DOCKER-USER" if "-N DOCKER-USER" in text else "FORWARD"


def _uses_iptables() -> bool:
    """Whether a table `filter` exists, of the old kind or the new: asking iptables itself would make one."""
    from wherry.network import netlink, nft

    for name in ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"):
        try:
            with open(name, encoding="ascii") as file:
                if "filter" in file.read().split():
                    return True
        except OSError:
            continue
    return netlink.table_exists(nft.IPV4, "filter") or netlink.table_exists(nft.IPV6, "filter")


def _run(path: str, *words: str) -> str:
    """What the program says; "" when it fails. Waits for others that use it (-w)."""
    reader, writer = os.pipe()
    try:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
        try:
            pid = os.posix_spawn(path, [path, "-w", "5", *words], {"PATH": ":".join(_PLACES)}, file_actions=actions)
        finally:
            os.close(writer)
            os.close(null)
        text = b""
        while part := os.read(reader, 65536):
            text += part
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(reader)
    return text.decode(errors="replace") if os.waitstatus_to_exitcode(status) == 0 else ""
