"""Where keys of S3 come from: a secret of the store, the environment, ~/.aws. They are never options, arguments or rows."""

from __future__ import annotations

import configparser
import os

from wherry.errors import HostError, NotFound
from wherry.store import secrets
from wherry.volume.s3http import Keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store import Store


def found(store: Store, options: dict[str, str], kept: str) -> tuple[Keys, str]:
    """The keys and a word about where they are from. `kept`: the file in which those of the environment were kept at create.

    Raises HostError, NotFound.
    """
    if options.get("secret"):
        row = secrets.find(store.db, options["secret"])
        return _parsed(secrets.data(store, row).decode(), f"secret {row.name}"), f"secret {row.name}"
    profile = options.get("profile") or ""
    if not profile:
        access, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        if access and secret:
            return Keys(access, secret, os.environ.get("AWS_SESSION_TOKEN", "")), "environment"
        try:
            with open(kept, encoding="utf-8") as file:
                return _parsed(file.read(), kept), "the environment of `volume create`"
        except FileNotFoundError:
            pass
    profile = profile or os.environ.get("AWS_PROFILE", "") or "default"
    path = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.join(os.environ.get("HOME", "/"), ".aws/credentials")
    parser = configparser.RawConfigParser()
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
        section = parser[profile]
        return (
            Keys(section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token", "")),
            f"profile {profile} of {path}",
        )
    except FileNotFoundError:
        raise HostError(
            "there are no keys for S3",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, write ~/.aws/credentials, or keep ACCESS_KEY:SECRET_KEY "
            "with `secret create` and name it with -o secret=NAME",
        ) from None
    except KeyError as error:
        raise NotFound(f"profile {profile} of {path} has no {error}", hint="name another one with -o profile=NAME") from None
    except configparser.Error as error:
        raise HostError(f"{path} can't be understood: {error}") from error


def _parsed(text: str, what: str) -> Keys:
    """ACCESS:SECRET[:TOKEN], or a line each."""
    words = text.replace("\n", ":").strip(":").split(":", 2)
    if len(words) < 2 or not all(words[:2]):
        raise HostError(f"{what} holds no keys of the form ACCESS_KEY:SECRET_KEY")
    return Keys(*words)


def text(keys: Keys) -> bytes:
    """What `_parsed` reads."""
    return "\n".join(part for part in (keys.access, keys.secret, keys.token) if part).encode()
