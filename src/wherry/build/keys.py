"""Cache keys: a step's key is a digest of everything its result depends on, its parent's key included.

RUN: argument words, environment (all ARGs in scope among it), user, folder, mounts and the contents of bound ones, network and
security; never secrets' values, proxies, or what is in a cache. COPY and ADD: contents, modes and names of what is selected, the
destination, owner and mode; never times.
"""

from __future__ import annotations

import hashlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.build.state import CopyStep, RunStep, WorkdirStep

# Changed when the meaning of a step changes: what an older wherry made is then made again.
_VERSION = "1"
SCRATCH = "scratch"


def of(kind: str, *fields: str | Iterable[str]) -> str:
    """A digest over fields that can't be confused with other ones."""
    total = hashlib.sha256()
    for field in (_VERSION, kind, *fields):
        parts = [field] if isinstance(field, str) else list(field)
        total.update(b"%d " % len(parts))
        for part in parts:
            data = os.fsencode(part)
            total.update(b"%d:" % len(data) + data)
    return total.hexdigest()


def base(diff_ids: Iterable[str], platform: str) -> str:
    """Of an image: its layers, whatever it is called."""
    return of("image", list(diff_ids), platform)


def run(step: RunStep, parent: str, mount_digests: Iterable[str], network: str, epoch_ns: int = -1) -> str:
    mounts = [
        f"{m.type} {m.target} {m.source} {m.from_} {m.id if m.type in ('cache', 'secret', 'ssh') else ''} {m.read_only} {m.size} {m.env}"
        for m in step.mounts
    ]
    fields = (step.argv, step.env, step.cwd, step.user, mounts, mount_digests, network, step.security, step.script)
    return of("run", parent, *fields, *_devices(step), *_time(epoch_ns))


def _devices(step: RunStep) -> list[list[str]]:
    return [["devices", *step.devices]] if step.devices else []


def _time(epoch_ns: int) -> list[str]:
    """Files of such a step have other times."""
    return [f"epoch {epoch_ns}"] if epoch_ns >= 0 else []


def copy(step: CopyStep, parent: str, digests: Iterable[str], epoch_ns: int) -> str:
    """With --link the parent doesn't matter: what is copied makes a layer by itself. `epoch_ns`: the time all files get, -1 their own."""
    files = [f"{name}\0{content}" for name, content in step.files]
    return of(
        "copy",
        "" if step.link else parent,
        digests,
        files,
        step.destination,
        step.chown,
        step.chmod,
        f"{step.link} {step.parents} {step.add} {step.unpack} {epoch_ns}",
    )


def workdir(step: WorkdirStep, parent: str, epoch_ns: int = -1) -> str:
    return of("workdir", parent, step.path, step.user, *_time(epoch_ns))


def merged(stage: str, made_ns: Iterable[int], *, everything: bool) -> str:
    """Of a stage's layers made into one."""
    return of("merged", stage, [str(n) for n in made_ns], str(everything))
