"""What a build is asked for, and what it answers."""

from __future__ import annotations

from wherry.engine.build_output import Output
from wherry.engine.build_wishes import CacheSpec, RunWishes
from wherry.engine.transfer import Access
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.build.checks import Finding


class Begin(Record):
    """What the command line changes of the Dockerfile's beginning and of the result's config. `base`: --from."""

    base: str = ""
    env: tuple[str, ...] = ()
    unset_env: tuple[str, ...] = ()
    unset_labels: tuple[str, ...] = ()
    inherit_labels: bool = True


class Shape(Record):
    """The form of the image: `squash` "new" (the layers above the base in one), "all" or "". `format` "oci", "docker" or "".

    `annotations`: KEY=VALUE, with manifest:, index: or manifest-descriptor: before it. `compression` "" as `push` has it by default.
    """

    squash: str = ""
    history: bool = True
    format: str = ""
    annotations: tuple[str, ...] = ()
    compression: str = ""
    level: int | None = None
    force_compression: bool = False

    @property
    def has_manifest(self) -> bool:
        """Whether the manifest's form is decided by the build and not by the push."""
        return bool(self.format or self.annotations or self.compression or self.force_compression)


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
    begin: Begin = Begin()
    shape: Shape = Shape()
    access: Access = Access()
    skip_unused: bool = True
    # A manifest list that the image is put into.
    manifest: str = ""
    cache_from: tuple[CacheSpec, ...] = ()
    cache_to: tuple[CacheSpec, ...] = ()
    # Keep what a failed step wrote as an image, to look into.
    keep_failed: bool = False


class BuildResult(Record):
    """`image_id` "" where no image was asked for. `names` are canonical."""

    image_id: str
    names: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    digest: str = ""
    media_type: str = ""
    size: int = 0
    platform: str = ""
