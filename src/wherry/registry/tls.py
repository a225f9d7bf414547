"""TLS: the system's authorities or SSL_CERT_FILE, and what certs.d of docker and containers add for one host."""

from __future__ import annotations

import os

from wherry.errors import HostError
from wherry.registry import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def context(host: str, *, insecure: bool, cert_dir: str = "") -> ssl.SSLContext:
    """A client's context for `host` (with its port). Raises HostError for certificates that can't be read.

    certs.d/<host>/: *.crt are authorities; *.cert with *.key of the same name are our own certificate.
    """
    import ssl

    found = ssl.create_default_context()
    bundle = os.environ.get("SSL_CERT_FILE", "") or next((p for p in _BUNDLES if os.path.exists(p)), "")
    folders = [cert_dir] if cert_dir else _folders(host)
    try:
        # create_default_context looks where its OpenSSL was built to look, which is nowhere for a Python that came from elsewhere.
        if bundle:
            found.load_verify_locations(bundle)
        if os.environ.get("SSL_CERT_DIR"):
            found.load_verify_locations(capath=os.environ["SSL_CERT_DIR"])
        for folder in folders:
            _add(found, folder)
    except (OSError, ssl.SSLError) as error:
        raise HostError(f"certificates for {host} can't be read: {error}") from error
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    return found


def _folders(host: str) -> list[str]:
    roots = [files.config_home() + "/containers/certs.d", files.config_home() + "/docker/certs.d"]
    roots += ["/etc/containers/certs.d", "/etc/docker/certs.d"]
    return [f"{root}/{host}" for root in roots if "/" not in host and os.path.isdir(f"{root}/{host}")]


def _add(found: ssl.SSLContext, folder: str) -> None:
    names = sorted(os.listdir(folder))
    for name in names:
        if name.endswith(".crt"):
            found.load_verify_locations(f"{folder}/{name}")
        elif name.endswith(".cert"):
            key = name.removesuffix(".cert") + ".key"
            if key not in names:
                raise HostError(f"missing key {folder}/{key} for client certificate {name}")
            found.load_cert_chain(f"{folder}/{name}", f"{folder}/{key}")
