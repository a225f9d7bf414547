"""A build for several platforms: one after the other, and an index of what came out.

The store has one image for each platform and, under the tag, a manifest list of them. The tag itself is this machine's image.
"""

from __future__ import annotations

from wherry.build.progress import Reporter
from wherry.engine import build_manifest, build_output
from wherry.engine import manifest as lists
from wherry.engine.build_one import OneBuild, tag_of
from wherry.engine.build_request import BuildResult
from wherry.errors import InvalidArgument, Unsupported
from wherry.model import platform as platforms
from wherry.store import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.build.progress import Display
    from wherry.engine import Engine
    from wherry.engine.build_output import Output
    from wherry.engine.build_request import BuildRequest


def build(engine: Engine, request: BuildRequest, display: Display | None) -> BuildResult:
    """Raises what a build raises; nothing has its tag unless all platforms were built."""
    wanted = list(dict.fromkeys(str(platforms.parse(text)) for text in request.platform.split(",")))
    for output in request.outputs:
        _check(output)
    reporter = Reporter(display)
    host = platforms.host()
    # This machine's last: a base image's name stays that of its own platform's image.
    order = sorted(wanted, key=lambda text: host.runs(platforms.parse(text)))
    results: dict[str, BuildResult] = {}
    for text in order:
        one = request.replace(platform=text, tags=(), outputs=tuple(_of_platform(o, text) for o in request.outputs if o.type == "local"))
        if not any(o.type != "local" for o in request.outputs) and request.outputs and not request.tags:
            results[text] = OneBuild(engine, one, None, reporter=reporter, prefix=text).run()
            continue
        one = one.replace(outputs=(*one.outputs, build_output.Output("image")))
        results[text] = OneBuild(engine, one, None, reporter=reporter, prefix=text).run()
    found = results[next((text for text in wanted if host.runs(platforms.parse(text))), wanted[0])]
    ids = [results[text].image_id for text in wanted if results[text].image_id]
    names = [tag_of(text).canonical for text in request.tags]
    for name in names:
        with engine.store.db.transaction() as db:
            images.set_tag(db, name, found.image_id)
        found = found.replace(digest=_list(engine, name, ids, request), media_type="application/vnd.oci.image.index.v1+json")
    if request.manifest:
        _list(engine, request.manifest, ids, request)
    for output in request.outputs:
        _write(engine, output, [*(output.names or names)], ids, request, reporter)
    findings = tuple(dict.fromkeys(f for text in wanted for f in results[text].findings))
    return found.replace(names=tuple(names), findings=findings, platform=",".join(wanted))


def _check(output: Output) -> None:
    if output.type == "docker" and output.dest:
        raise InvalidArgument("docker exporter does not currently support exporting manifest lists", hint="use -o type=oci")
    if output.type == "tar":
        raise Unsupported("-o type=tar of several platforms is not supported", hint="use -o type=local, which makes a folder for each")


def _of_platform(output: Output, text: str) -> Output:
    return output.replace(dest=f"{output.dest}/{text.replace('/', '_')}") if output.split else output


def _list(engine: Engine, name: str, ids: list[str], request: BuildRequest) -> str:
    if lists.exists(engine.store, name):
        lists.drop(engine.store, name)
    lists.create(engine.store, name, ids, request.access)
    return lists.digest(engine.store, name, build_manifest.notes_of(request.shape.annotations, "index"))


def _write(engine: Engine, output: Output, names: list[str], ids: list[str], request: BuildRequest, reporter: Reporter) -> None:
    if output.type == "oci":
        vertex = reporter.start("exporting to oci image format")
        target: str | int = 1 if output.dest == "-" else output.dest
        engine.images.save(ids, target, format="oci-dir" if output.folder else "oci-archive")
        reporter.done(vertex)
    if output.push:
        if not names:
            raise InvalidArgument("tag is needed when pushing to registry")
        for name in names:
            name = tag_of(name).canonical
            if not lists.exists(engine.store, name):
                _list(engine, name, ids, request)
            vertex = reporter.start(f"pushing {name}")
            try:
                digest = lists.push(engine.store, name, name, request.access)
            except BaseException as error:
                reporter.fail(vertex, str(error))
                raise
            reporter.status(vertex, f"pushing manifest for {name}@{digest} done")
            reporter.done(vertex)


def join_list(engine: Engine, name: str, image_id: str, request: BuildRequest) -> None:
    """--manifest: the image into a list of that name, which is made where it is missing."""
    if lists.exists(engine.store, name):
        lists.add(engine.store, name, image_id, request.access, lists.Annotation())
    else:
        lists.create(engine.store, name, [image_id], request.access)
