"""`--output`: where a build's result goes beside the store: a folder, a tar, an archive, a registry."""

from __future__ import annotations

import os

from wherry.engine.transfer import Access
from wherry.errors import InvalidArgument, Unsupported
from wherry.model import reference
from wherry.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.build.progress import Reporter
    from wherry.build.workers import Worker
    from wherry.engine import Engine
    from wherry.model.reference import Reference

TYPES = ("image", "docker", "oci", "registry", "local", "tar", "cacheonly")


class Output(Record):
    """`type` and `dest` ("" none, "-" standard output); `push`: send it to its registry as well.

    `names`: instead of those of -t. `folder`: an OCI layout as a folder. `clean`: what lies in `dest` already goes. `options`: the rest.
    """

    type: str
    dest: str = ""
    push: bool = False
    names: tuple[str, ...] = ()
    folder: bool = False
    clean: bool = False
    by_digest: bool = False
    split: bool = False
    options: dict[str, str] = {}

    @property
    def needs_image(self) -> bool:
        return self.type in ("image", "docker", "oci", "registry")


# compression and its kin shape the image, whatever is done with it
_SHAPING = ("compression", "compression-level", "force-compression", "oci-mediatypes", "rewrite-timestamp", "platform-split")
_IGNORED = (
    "unpack",
    "store",
    "danglingnameprefix",
    "name-canonical",
    "attestation-prefix",
    "buildinfo",
    "prefer-nondist-layers",
    "context",
)


def parse(text: str) -> Output:
    """`type=local,dest=out`, or just a path: "-" a tar on standard output, else a folder. Raises InvalidArgument, Unsupported."""
    import csv

    if "=" not in text:
        return Output("tar", "-") if text == "-" else Output("local", text, split=True)
    values: dict[str, str] = {}
    for field in next(csv.reader([text]), []):
        key, equals, value = field.partition("=")
        if not equals:
            raise InvalidArgument(f"invalid value {field} for --output: it should be key=value")
        values[key.strip().lower()] = value
    kind = values.pop("type", "")
    if kind not in TYPES:
        raise InvalidArgument(f'unknown output type "{kind}": it is one of {", ".join(TYPES)}' if kind else "type is required for output")
    dest = values.pop("dest", "")
    push = _switch(values, "push") or kind == "registry"
    names = tuple(name for name in values.pop("name", "").split(",") if name)
    folder = "tar" in values and not _switch(values, "tar")
    clean = values.pop("mode", "copy") == "delete"
    by_digest = _switch(values, "push-by-digest")
    split = _switch(values, "platform-split", kind == "local")
    options = {key: values.pop(key) for key in list(values) if key in _SHAPING or key.startswith("annotation")}
    for key in values:
        if key not in _IGNORED:
            raise Unsupported(f"--output {key}=… is not supported", hint="leave it out")
    if kind in ("local", "tar", "oci") and not dest:
        if kind == "local" or folder:
            raise InvalidArgument(f"dest is required for {kind} exporter")
        dest = "-"
    return Output(kind, dest, push, names, folder, clean, by_digest, split, options)


def _switch(values: dict[str, str], key: str, default: bool = False) -> bool:
    text = values.pop(key, str(default)).lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"non-bool value specified for {key}: {text}")
    return text in ("true", "1")


def write(
    engine: Engine,
    output: Output,
    image_id: str,
    targets: list[Reference],
    worker: Worker,
    lowers: list[str],
    reporter: Reporter,
    access: Access,
) -> None:
    """Carry an output out. `lowers`: the folders of the image's layers, topmost first."""
    if output.names:
        targets = [reference.parse(name).tagged() for name in output.names]
    if output.type in ("local", "tar"):
        _tree(engine, output, worker, lowers, reporter)
    elif output.type in ("oci", "docker") and output.dest:
        vertex = reporter.start(f"exporting to {'oci' if output.type == 'oci' else 'docker'} image format")
        names = [t.canonical for t in targets] or [image_id]
        target: str | int = 1 if output.dest == "-" else output.dest
        form = "docker-archive" if output.type == "docker" else "oci-dir" if output.folder else "oci-archive"
        engine.images.save(names, target, format=form)
        reporter.done(vertex)
    if output.push:
        push(engine, output, image_id, targets, reporter, access)


def push(engine: Engine, output: Output, image_id: str, targets: list[Reference], reporter: Reporter, access: Access) -> None:
    """Send the image to its names' registries. Raises InvalidArgument, RegistryError."""
    from wherry.engine import transfer_push

    if not targets:
        raise InvalidArgument("tag is needed when pushing to registry")
    for target in targets:
        vertex = reporter.start(f"pushing {target.canonical}")
        try:
            wishes = transfer_push.PushWishes(access=access)
            pushed = transfer_push.push(engine.store, target.canonical, wishes, source=image_id, by_digest=output.by_digest)
        except BaseException as error:
            reporter.fail(vertex, str(error))
            raise
        reporter.status(vertex, f"pushing manifest for {target.canonical}@{pushed.digest} done")
        reporter.done(vertex)


def _tree(engine: Engine, output: Output, worker: Worker, lowers: list[str], reporter: Reporter) -> None:
    vertex = reporter.start("exporting to client directory" if output.type == "local" else "exporting to client tarball")
    folder = engine.store.staging("output")
    os.makedirs(folder + "/mnt", 0o755)
    try:
        if output.type == "local":
            os.makedirs(output.dest, exist_ok=True)
            if output.clean:
                _empty(output.dest)
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


def _empty(folder: str) -> None:
    """mode=delete: nothing stays in the folder but what is put there now."""
    import shutil

    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
