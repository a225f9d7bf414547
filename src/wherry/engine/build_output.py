"""`--output`: where a build's result goes beside the store: a folder, a tar, an archive, a registry."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, Unsupported
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.build.progress import Reporter
    from wherry.build.workers import Worker
    from wherry.engine import Engine
    from wherry.model.reference import Reference

TYPES = ("image", "docker", "oci", "registry", "local", "tar", "cacheonly")


class Output(Record):
    """`type` and `dest` ("" none, "-" standard output); `push`: send it to its registry as well."""

    type: str
    dest: str = ""
    push: bool = False

    @property
    def needs_image(self) -> bool:
        return self.type in ("image", "docker", "oci", "registry")


def parse(text: str) -> Output:
    """`type=local,dest=out`, or just a path: "-" a tar on standard output, else a folder. Raises InvalidArgument, Unsupported."""
    if "=" not in text:
        return Output("tar", "-") if text == "-" else Output("local", text)
    values: dict[str, str] = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals:
            raise InvalidArgument(f"invalid value {field} for --output: it should be key=value")
        values[key.strip().lower()] = value
    kind = values.pop("type", "")
    if kind not in TYPES:
        raise InvalidArgument(f'unknown output type "{kind}": it is one of {", ".join(TYPES)}' if kind else "type is required for output")
    dest = values.pop("dest", "")
    push = values.pop("push", "false").lower() == "true" or kind == "registry"
    for key in values:
        if key not in ("name", "unpack", "store", "oci-mediatypes", "tar"):
            raise Unsupported(f"--output {key}=… is not supported yet", hint="leave it out")
    if "name" in values:
        raise Unsupported("--output name=… is not supported yet", hint="name the image with -t")
    if kind in ("local", "tar", "oci") and not dest:
        if kind == "local":
            raise InvalidArgument("dest is required for local exporter")
        dest = "-"
    return Output(kind, dest, push)


def write(
    engine: Engine, output: Output, image_id: str, targets: list[Reference], worker: Worker, lowers: list[str], reporter: Reporter
) -> None:
    """Carry an output out. `lowers`: the folders of the image's layers, topmost first."""
    if output.type in ("local", "tar"):
        _tree(engine, output, worker, lowers, reporter)
    elif output.type in ("oci", "docker") and output.dest:
        vertex = reporter.start(f"exporting to {'oci' if output.type == 'oci' else 'docker'} image format")
        names = [t.canonical for t in targets] or [image_id]
        target: str | int = 1 if output.dest == "-" else output.dest
        engine.images.save(names, target, format="oci-archive" if output.type == "oci" else "docker-archive")
        reporter.done(vertex)
    if output.push:
        if not targets:
            raise InvalidArgument("tag is needed when pushing to registry")
        for target_name in targets:
            vertex = reporter.start(f"pushing {target_name.canonical}")
            try:
                engine.images.push(target_name.canonical, source=image_id)
            except BaseException as error:
                reporter.fail(vertex, str(error))
                raise
            reporter.done(vertex)


def _tree(engine: Engine, output: Output, worker: Worker, lowers: list[str], reporter: Reporter) -> None:
    vertex = reporter.start("exporting to client directory" if output.type == "local" else "exporting to client tarball")
    folder = engine.store.staging("output")
    os.makedirs(folder + "/mnt", 0o755)
    try:
        if output.type == "local":
            os.makedirs(output.dest, exist_ok=True)
            worker.do(
                {
                    "do": "extract",
                    "folder": folder,
                    "lowers": lowers,
                    "path": "/",
                    "target": os.path.abspath(output.dest),
                    "to": "/",
                    "owner": [0, 0],
                }
            )
        else:
            fd = 1 if output.dest == "-" else os.open(output.dest, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            try:
                worker.do({"do": "export", "folder": folder, "lowers": lowers}, fd)
            finally:
                if fd != 1:
                    os.close(fd)
    except BaseException as error:
        reporter.fail(vertex, str(error))
        raise
    finally:
        for path in (folder + "/mnt", folder):
            os.rmdir(path)
    reporter.done(vertex)
