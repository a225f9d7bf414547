"""Log drivers and their options. All of them keep the rotated file that `logs` reads; journald and syslog get the lines besides.

The names are docker's. Loaded for containers that ask for more than the plain file.
"""

from __future__ import annotations

import os

from wherry.errors import HostError, InvalidArgument, Unsupported
from wherry.model import jsontext, sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.store.containers import ContainerRow

_COMMON = ("mode", "max-buffer-size", "labels", "labels-regex", "env", "env-regex", "tag")
_FILE = ("max-size", "max-file", "compress")
OPTIONS: dict[str, tuple[str, ...]] = {
    "json-file": (*_FILE, *_COMMON),
    "local": (*_FILE, "mode", "max-buffer-size"),
    "none": ("mode", "max-buffer-size"),
    "journald": _COMMON,
    "syslog": (*_COMMON, "syslog-address", "syslog-facility", "syslog-format"),
}
# podman's names for the same
ALIASES = {"k8s-file": "json-file", "k8s_file": "json-file"}
FACILITIES = (
    "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp security console solaris-cron "
    "local0 local1 local2 local3 local4 local5 local6 local7"
).split()
JOURNAL = "/run/systemd/journal/socket"
_DEV_LOG = "/dev/log"
_TAGS = ("{{.ID}}", "{{.FullID}}", "{{.Name}}", "{{.ImageID}}", "{{.ImageFullID}}", "{{.ImageName}}", "{{.Command}}", "{{.DaemonName}}")


def checked(driver: str, options: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The driver and its options as the record keeps them. Raises InvalidArgument, Unsupported, HostError."""
    driver = ALIASES.get(driver, driver)
    if driver.startswith("passthrough"):
        raise Unsupported(
            f"log driver {driver} is not supported", hint="use --log-driver none and stay attached: the output is the caller's"
        )
    if driver not in OPTIONS:
        known = ", ".join(OPTIONS)
        raise InvalidArgument(f"logger: no log driver named '{driver}' is registered", hint=f"there are {known}")
    for name in options:
        if name not in OPTIONS[driver]:
            raise InvalidArgument(f"unknown log opt '{name}' for {driver} log driver")
    _values(options)
    if driver == "journald" and not os.path.exists(JOURNAL):
        raise HostError("journald is not enabled on this host", hint=f"there is no {JOURNAL}; use --log-driver json-file or syslog")
    if driver == "syslog" and not os.path.exists(_address(options)):
        raise HostError(
            f"syslog: nobody listens at {_address(options)}", hint="name the socket with --log-opt syslog-address=unixgram:///path"
        )
    return driver, options


def _values(options: dict[str, str]) -> None:
    if options.get("mode", "blocking") not in ("blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {options['mode']}")
    if options.get("compress", "false") not in ("true", "false"):
        raise InvalidArgument(f"invalid value for compress: {options['compress']}")
    if options.get("compress") == "true":
        raise Unsupported("--log-opt compress=true is not supported", hint="rotated files are kept as they are; lower max-size or max-file")
    if "max-buffer-size" in options:
        if options.get("mode") != "non-blocking":
            raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        sizes.parse_bytes(options["max-buffer-size"])
    facility = options.get("syslog-facility", "daemon")
    if facility not in FACILITIES and not (facility.isdigit() and int(facility) < 24):
        raise InvalidArgument(f"invalid syslog facility: {facility}")
    if options.get("syslog-format", "") not in ("", "rfc3164"):
        raise Unsupported(
            f"--log-opt syslog-format={options['syslog-format']} is not supported", hint="the local form (rfc3164) is the only one"
        )
    for name in ("labels-regex", "env-regex"):
        if name in options:
            import re

            try:
                re.compile(options[name])
            except re.error as error:
                raise InvalidArgument(f"invalid value for {name}: {error}") from error


def _address(options: dict[str, str]) -> str:
    text = options.get("syslog-address", "")
    kind, mark, path = text.partition("://")
    if not text:
        return _DEV_LOG
    if not mark or kind not in ("unix", "unixgram"):
        raise Unsupported(f"--log-opt syslog-address={text} is not supported", hint="the host's own syslog is: unixgram:///dev/log")
    return path


def _tag(text: str, row: ContainerRow) -> str:
    image = row.image_id.removeprefix("sha256:")
    values = (row.id[:12], row.id, row.name, image[:12], image, row.image_name, row.command, "wherry")
    for word, value in zip(_TAGS, values):
        text = text.replace(word, value)
    if "{{" in text:
        raise InvalidArgument(f"log opt tag: {text!r}: a template may hold {', '.join(_TAGS)}")
    return text


def attributes(row: ContainerRow, record: dict[str, Any], options: dict[str, str]) -> dict[str, str]:
    """Labels and variables that go with each line, by docker's rule (moby, logger.Info.ExtraAttributes)."""
    variables = dict(entry.partition("=")[::2] for entry in record["Config"].get("Env") or ())
    found = {}
    for option, values in (("labels", record["Config"].get("Labels") or {}), ("env", variables)):
        for name in filter(None, options.get(option, "").split(",")):
            if name in values:
                found[name] = values[name]
        if options.get(option + "-regex"):
            import re

            pattern = re.compile(options[option + "-regex"])
            found |= {name: value for name, value in values.items() if pattern.search(name)}
    return found


def members(row: ContainerRow, record: dict[str, Any]) -> tuple[str, ...]:
    """JSON members for each line of the file: "attrs", as docker's json-file has it."""
    options = record["HostConfig"]["LogConfig"]["Config"]
    found = attributes(row, record, options)
    if options.get("tag"):
        found["tag"] = _tag(options["tag"], row)
    text = f'"attrs":{jsontext.dumps(found)}'
    if len(text) > 1000:
        raise InvalidArgument("log opts: labels, variables and tag of a line are longer than 1000 bytes")
    return (text,) if found else ()


def receiver(row: ContainerRow, record: dict[str, Any]) -> tuple[str, str, tuple[str, ...], int, int] | None:
    """LOG_TO of the plan; None for a driver that is the file alone."""
    log = record["HostConfig"]["LogConfig"]
    driver, options = log["Type"], log["Config"]
    haste = int(options.get("mode") == "non-blocking")
    if driver == "journald":
        tag = _tag(options.get("tag") or "{{.ID}}", row)
        fields = {
            "CONTAINER_ID": row.id[:12],
            "CONTAINER_ID_FULL": row.id,
            "CONTAINER_NAME": row.name,
            "CONTAINER_TAG": tag,
            "IMAGE_NAME": row.image_name,
            "SYSLOG_IDENTIFIER": tag,
        }
        for name, value in attributes(row, record, options).items():
            fields["".join(c if c.isascii() and c.isalnum() else "_" for c in name).upper().lstrip("_")] = value
        return driver, JOURNAL, tuple(f"{k}={v}" for k, v in fields.items() if "\n" not in v), 0, haste
    if driver == "syslog":
        facility = options.get("syslog-facility", "daemon")
        number = int(facility) if facility.isdigit() else FACILITIES.index(facility)
        return driver, _address(options), (f"{_tag(options.get('tag') or '{{.ID}}', row)}: ",), number, haste
    return None
