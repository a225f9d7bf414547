"""What a build is asked for, and what it answers."""

from __future__ import annotations

from wherry.engine.build_output import Output
from wherry.engine.build_run import RunWishes
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.build.checks import Finding


class BuildRequest(Record):
    """What `build` was asked for. `context`: a folder, "-", a URL; `dockerfile` "" for the usual name. `created_ns` -1: now.

    `pull`: "missing", "always" or "never". `no_cache_stages`: --no-cache-filter.
    """

    context: str
    dockerfile: str = ""
    tags: tuple[str, ...] = ()
    build_args: dict[str, str] = {}
    target: str = ""
    no_cache: bool = False
    no_cache_stages: tuple[str, ...] = ()
    pull: str = "missing"
    platform: str = ""
    labels: dict[str, str] = {}
    contexts: dict[str, str] = {}
    run: RunWishes = RunWishes()
    outputs: tuple[Output, ...] = ()
    created_ns: int = -1
    jobs: int = 0
    ignorefile: str = ""


class BuildResult(Record):
    """`image_id` "" where no image was asked for. `names` are canonical."""

    image_id: str
    names: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
