"""`make bench`: wherry beside podman and docker on this machine, in one run. Prints a table in Markdown.

    bench/run.py [--rows run,exec,…] [--peers wherry,podman,docker] [--rounds 15] [--only root|user]

As root it measures both sides, root's and an ordinary user's (made for the bench and removed after it).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

import machine  # noqa: E402
from images import many_layers  # noqa: E402
from peers import ChrootPodmanPeer, DockerPeer, Peer, PodmanPeer, WherryPeer  # noqa: E402
from rows import ROWS, Row  # noqa: E402

from support import users  # noqa: E402
from support.installed import install  # noqa: E402


def main() -> None:
    options = parse()
    signal.signal(signal.SIGTERM, end)
    base = Path(tempfile.mkdtemp(prefix="wb"))  # short: podman hangs when its attach socket's path is longer than 108 bytes
    base.chmod(0o755)
    rootfs = base / "rootfs.tar"
    subprocess.run([sys.executable, str(HERE.parent / "tools/rootfs.py"), str(rootfs)], check=True)
    rootfs.chmod(0o644)
    rows = {key: ROWS[key] for key in options.rows}
    many = base / "many.tar"
    if any(key.startswith("many") for key in rows):
        many_layers(many, rootfs)
        many.chmod(0o644)
    command = install(base) if "wherry" in options.peers else Path()
    user = None
    groups = machine.control_groups()
    groups.__enter__()
    try:
        print(machine.describe(), flush=True)
        if os.geteuid() == 0 and options.only != "user":
            side("root", rows, root_peers(options.peers, base / "r", command), rootfs, many, options)
        if os.geteuid() != 0:
            user = users.me()
            side("an ordinary user", rows, user_peers(options.peers, base / "u", user, command), rootfs, many, options)
        elif options.only != "root":
            user = users.make(f"wb{os.getpid()}", base / "home", subids=True)
            side("an ordinary user", rows, user_peers(options.peers, base / "u", user, command), rootfs, many, options)
    finally:
        if user and os.geteuid() == 0:
            users.remove(user)
        groups.__exit__(None, None, None)
        subprocess.run(["sh", "-c", f"grep -o ' {base}[^ ]*' /proc/mounts | sort -r | xargs -r umount"], check=False)
        shutil.rmtree(base, ignore_errors=True)


def end(*_what: object) -> None:
    """The first SIGTERM takes everything down in order; another one changes nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit("ended by SIGTERM")


def parse() -> argparse.Namespace:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=lambda s: s.split(","), default=list(ROWS), help=f"of {', '.join(ROWS)}")
    words.add_argument("--peers", type=lambda s: s.split(","), default=["wherry", "podman", "docker"])
    words.add_argument("--rounds", type=int, default=15)
    words.add_argument("--only", choices=["root", "user"])
    return words.parse_args()


def root_peers(wanted: list[str], base: Path, command: Path) -> list[Peer]:
    root = users.root()
    found: list[Peer] = [WherryPeer(base / "wherry", root, command)] if "wherry" in wanted else []
    if "podman" in wanted and shutil.which("podman"):
        found.append(PodmanPeer(base / "podman", root))
    if "podman" in wanted and (chroot := os.environ.get("WHERRY_BENCH_CHROOT")):
        found.append(ChrootPodmanPeer(base / "podman-new", root, chroot))
    if "docker" in wanted and shutil.which("dockerd"):
        found.append(DockerPeer(base / "docker", root))
    return found


def user_peers(wanted: list[str], base: Path, user: users.User, command: Path) -> list[Peer]:
    found: list[Peer] = [WherryPeer(base / "wherry", user, command)] if "wherry" in wanted else []
    if "podman" in wanted and shutil.which("podman"):
        found.append(PodmanPeer(base / "podman", user))
    return found


def side(title: str, rows: dict[str, Row], peers: list[Peer], rootfs: Path, many: Path, options: argparse.Namespace) -> None:
    ready: list[Peer] = []
    try:
        for peer in peers:
            try:
                ready.append(peer)
                peer.up()
                peer.run("import", peer.file(rootfs), "bench")
                if many.exists():
                    peer.run("load", "-i", peer.file(many))
            except RuntimeError as error:
                print(f"left out: {error}", file=sys.stderr)
                ready.remove(peer)
        print(f"\n### As {title}\n")
        heads = ["work", *(p.name for p in ready), *(f"{ready[0].name} ÷ {p.name}" for p in ready[1:])]
        print(f"| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}", flush=True)
        for row in rows.values():
            print(line(row, ready, measure(row, ready, options.rounds)), flush=True)
    finally:
        for peer in peers:
            if peer.spawner:
                try:
                    peer.remove_all()
                except (RuntimeError, OSError) as error:
                    print(error, file=sys.stderr)
                peer.down()


def measure(row: Row, peers: list[Peer], rounds: int) -> dict[str, list[float]]:
    """Times of each peer; a peer that fails at this row has none."""
    found: dict[str, list[float]] = {}
    for peer in peers:
        try:
            row.prepare(peer)
            row.measure(peer)  # warm-up
            found[peer.name] = []
        except RuntimeError as error:
            print(f"{row.name}: {error}", file=sys.stderr)
    for _ in range(row.rounds or rounds):
        for peer in peers:
            if peer.name in found:
                try:
                    found[peer.name].append(row.measure(peer))
                except RuntimeError as error:
                    print(f"{row.name}: {error}", file=sys.stderr)
                    del found[peer.name]
    for peer in peers:
        row.finish(peer)
    return found


def line(row: Row, peers: list[Peer], found: dict[str, list[float]]) -> str:
    medians = {name: statistics.median(times) for name, times in found.items() if times}
    cells = [row.name if row.unit == "ms" else f"{row.name} ({row.unit})"]
    cells += [f"{medians[p.name]:.1f}" if p.name in medians else "–" for p in peers]
    first = medians.get(peers[0].name)
    cells += [f"{first / medians[p.name]:.2f}" if first and medians.get(p.name) else "–" for p in peers[1:]]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
