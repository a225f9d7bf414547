"""How `build --call` shows what it found: docker's forms, as text and as JSON."""

from __future__ import annotations

from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from wherry.engine.build_call import CheckReport, Finding, Outline, Source, Target


def summary(findings: Iterable[Finding]) -> str:
    """What an ordinary build says at its end; "" when there is nothing to say."""
    found = list(findings)
    if not found:
        return ""
    count = "1 warning" if len(found) == 1 else f"{len(found)} warnings"
    lines = "".join(f" - {f.rule.name}: {f.detail} (line {f.span.first})\n" for f in found)
    return f"\n {count} found (use --check to expand):\n{lines}"


def check_text(report: CheckReport) -> str:
    found = report.findings
    if not found:
        return "Check complete, no warnings found.\n"
    count = "1 warning has" if len(found) == 1 else f"{len(found)} warnings have"
    return f"Check complete, {count} been found!\n" + "".join(_warning(f, report.source) for f in found)


def _warning(finding: Finding, source: Source) -> str:
    page = f" - {finding.rule.url}" if finding.rule.url else ""
    return f"\nWARNING: {finding.rule.name}{page}\n{finding.detail}\n{source.excerpt(finding.span)}"


def check_json(report: CheckReport) -> str:
    import base64

    text = "\n".join(report.source.lines) + "\n"
    document = {
        "warnings": [_warning_json(f) for f in report.findings],
        "sources": [
            {
                "filename": report.source.name,
                "language": "Dockerfile",
                "data": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode(),
            }
        ],
    }
    return jsontext.dumps(document, indent=2) + "\n"


def _warning_json(finding: Finding) -> dict[str, Any]:
    lines = {"start": {"line": finding.span.first}, "end": {"line": finding.span.last}}
    return {
        "ruleName": finding.rule.name,
        "description": finding.rule.description,
        **({"url": finding.rule.url} if finding.rule.url else {}),
        "detail": finding.detail,
        "location": {"sourceIndex": 0, "ranges": [lines]},
    }


def outline_text(found: Outline) -> str:
    parts = []
    if found.name or found.description:
        rows = [("TARGET:", found.name or "(default)")]
        if found.description:
            rows.append(("DESCRIPTION:", found.description))
        parts.append(_columns(rows, 2))
    if found.arguments:
        parts.append(_columns([("BUILD ARG", "VALUE", "DESCRIPTION"), *found.arguments], 2))
    for title, needs in (("SECRET", found.secrets), ("SSH", found.ssh)):
        if needs:
            parts.append(_columns([(title, "REQUIRED"), *((name, "true" if must else "") for name, must in needs)], 2))
    return "\n".join(parts)


def outline_json(found: Outline) -> str:
    document: dict[str, Any] = {"name": found.name, "description": found.description}
    document["args"] = [
        {"name": name, **({"description": text} if text else {}), **({"value": value} if value else {})}
        for name, value, text in found.arguments
    ]
    document["secrets"] = [{"name": name, **({"required": True} if must else {})} for name, must in found.secrets]
    document["ssh"] = [{"name": name, **({"required": True} if must else {})} for name, must in found.ssh]
    return jsontext.dumps({k: v for k, v in document.items() if v}, indent=2) + "\n"


def targets_text(found: list[Target]) -> str:
    rows = [("TARGET", "DESCRIPTION")]
    for target in found:
        name = f"{target.name} (default)" if target.name and target.default else target.name or "(default)"
        rows.append((name, target.description))
    return _columns(rows, 1)


def targets_json(found: list[Target]) -> str:
    rows = [
        {
            **({"name": t.name} if t.name else {}),
            **({"default": True} if t.default else {}),
            **({"description": t.description} if t.description else {}),
            "base": t.base,
            **({"platform": t.platform} if t.platform else {}),
        }
        for t in found
    ]
    return jsontext.dumps({"targets": rows}, indent=2) + "\n"


def _columns(rows: Iterable[tuple[str, ...]], gap: int) -> str:
    """Left-aligned columns; the last one is as long as it is."""
    listed = list(rows)
    widths = [max(len(row[i]) for row in listed) for i in range(len(listed[0]) - 1)]
    return "".join("".join(f"{cell:<{w + gap}}" for cell, w in zip(row, widths)) + row[-1] + "\n" for row in listed)
