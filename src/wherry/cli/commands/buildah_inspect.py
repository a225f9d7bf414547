"""`buildah inspect`."""

from __future__ import annotations

from wherry.cli.commands.several import needs_exactly
from wherry.cli.options import Option, parse
from wherry.errors import NotFound, UsageError
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.context import Context

USAGE = "[OPTIONS] CONTAINER|IMAGE"
OPTIONS = (
    Option("format", "f", help="A Go template"),
    Option("type", "t", default="container", help='What to look for ("container", "image", "manifest")'),
)


def run(context: Context, words: list[str]) -> int:
    parsed = parse(OPTIONS, words)
    needs_exactly(context, parsed.words, 1)
    if parsed.type not in ("container", "image"):
        raise UsageError(f'the only recognized types are "container" and "image" here, not "{parsed.type}"')
    name = parsed.words[0]
    try:
        if parsed.type == "image":
            raise NotFound(name)
        found = _container(context, name)
    except NotFound:
        found = _image(context, name)
    if parsed.format:
        from wherry.cli.template import compile_template

        context.out(compile_template(parsed.format)(found) + "\n")
    else:
        context.out(jsontext.dumps(found, indent=4) + "\n")
    return 0


def _container(context: Context, name: str) -> dict[str, Any]:
    from wherry.engine.working import Working

    one = Working(context.engine, name)
    state = one.state
    return {
        "Type": "buildah 0.0.1",
        "FromImage": one.row.image_name,
        "FromImageID": one.row.image_id.removeprefix("sha256:"),
        "Container": one.row.name,
        "ContainerID": one.row.id,
        "MountPoint": one.mount_point if one.mounted else "",
        **_forms(state),
        "ImageAnnotations": state["annotations"] or None,
        "ImageCreatedBy": state.get("created_by", ""),
    }


def _image(context: Context, name: str) -> dict[str, Any]:
    found = context.engine.images.inspect(name)
    state = {
        "config": found.get("Config") or {},
        "architecture": found.get("Architecture"),
        "os": found.get("Os"),
        "author": found.get("Author"),
        "created": found.get("Created"),
    }
    return {
        "Type": "buildah 0.0.1",
        "FromImage": (found.get("RepoTags") or [""])[0],
        "FromImageID": found["Id"].removeprefix("sha256:"),
        "FromImageDigest": (found.get("RepoDigests") or [""])[0].partition("@")[2],
        **_forms(state),
    }


def _forms(state: dict[str, Any]) -> dict[str, Any]:
    """The image's config in the words of both forms."""
    config = {key: value for key, value in state["config"].items() if value}
    head = {key: state[key] for key in ("created", "architecture", "os", "author", "variant") if state.get(key)}
    return {"OCIv1": {**head, "config": config}, "Docker": {**head, "config": config}}
