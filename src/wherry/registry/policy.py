"""policy.json (containers-policy.json(5)): which registries may be pulled from at all. Signatures are not checked, so never pretended."""

from __future__ import annotations

import os

from wherry.errors import RegistryError, Unsupported
from wherry.registry import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.model.reference import Reference


def check(reference: Reference, path: str = "") -> None:
    """Whether the policy lets an image in. Raises RegistryError where it says reject, Unsupported where it wants signatures."""
    found = path or _default()
    if not found:
        return
    if path and not os.path.exists(path):
        raise RegistryError(f"the signature policy {path} does not exist")
    document = files.read_json(found)
    if not document:
        return
    for requirement in _requirements(document, reference):
        kind = requirement.get("type")
        if kind == "reject":
            raise RegistryError(f"Source image rejected: Running image docker://{reference.canonical} is rejected by policy.")
        if kind != "insecureAcceptAnything":
            raise Unsupported(
                f"{found} demands a signature ({kind}) of {reference.canonical}, and signatures are not supported yet",
                hint="pull it with a tool that checks signatures and `load` it, or name another policy with --signature-policy",
            )


def _default() -> str:
    own = files.config_home() + "/containers/policy.json"
    for path in (own, "/etc/containers/policy.json"):
        if os.path.exists(path):
            return path
    return ""


def _requirements(document: dict[str, Any], reference: Reference) -> list[dict[str, Any]]:
    """The most specific scope of the transport "docker", else its default "", else the file's default."""
    scopes = (document.get("transports") or {}).get("docker") or {}
    name = reference.canonical
    tries = [name, reference.repository]
    parts = reference.repository.split("/")
    tries += ["/".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)]
    labels = parts[0].partition(":")[0].split(".")
    tries += ["*." + ".".join(labels[n:]) for n in range(1, len(labels))]
    for scope in [*tries, ""]:
        if scope in scopes:
            return list(scopes[scope])
    return list(document.get("default") or [{"type": "reject"}])
