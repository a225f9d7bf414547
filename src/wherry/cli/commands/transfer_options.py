"""Options that commands which talk to registries share."""

from __future__ import annotations

import os

from wherry.cli.options import Option, Parsed
from wherry.engine.transfer import Access
from wherry.errors import UsageError
from wherry.model import duration

OPTIONS = (
    Option("authfile", help="Path of the authentication file"),
    Option("cert-dir", help="Path of a folder with TLS certificates and keys"),
    Option("creds", placeholder="[username[:password]]", help="Credentials to use"),
    Option("disable-content-trust", kind="bool", default=True, help="Skip image verification (always)", hidden=True),
    Option("retry", kind="int", default=5, help="Number of times to try again after a failure"),
    Option("retry-delay", placeholder="duration", help="Delay before the first new try; it doubles"),
    Option("signature-policy", help="Path of a policy.json", hidden=True),
    Option("tls-verify", kind="bool", default=True, help="Require HTTPS and verify certificates"),
)


def access(parsed: Parsed) -> Access:
    """Raises UsageError."""
    if parsed.retry < 0:
        raise UsageError(f'invalid argument "{parsed.retry}" for "--retry" flag: must not be negative')
    creds = parsed.creds
    if creds and ":" not in creds:
        from wherry.cli.commands.login import ask_password

        creds += ":" + ask_password()
    return Access(
        authfile=parsed.authfile,
        creds=creds,
        cert_dir=parsed.cert_dir,
        tls_verify=parsed.tls_verify if "tls-verify" in parsed.given else None,
        retries=parsed.retry,
        retry_delay_s=_delay_s(parsed.retry_delay),
        policy=parsed.signature_policy or os.environ.get("WHERRY_SIGNATURE_POLICY", ""),
    )


def _delay_s(text: str) -> float:
    if not text:
        return 0.5
    if text.isdigit():
        return float(text)
    return duration.parse(text) / 1e9
