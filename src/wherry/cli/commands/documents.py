"""What the inspect commands share: find each name, print a list of documents or a template's text."""

from __future__ import annotations

from wherry.errors import WherryError
from wherry.model import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.context import Context


def show(context: Context, names: list[str], form: str, get: Callable[[str], dict[str, Any]], missing: str) -> int:
    """Print the documents of `names`; `missing` is the text for a name that isn't there, with {} for it."""
    render = None
    if form and form != "json":
        from wherry.cli.template import compile_template

        render = compile_template(form)
    found = []
    out = []
    code = 0
    for name in names:
        try:
            found.append(get(name))
            if render is not None:
                out.append(render(found[-1]) + "\n")
        except WherryError as error:
            code = 1
            if error.id == "not-found":
                context.error(missing.format(name))
            else:
                context.fail(error)
    if render is not None:
        context.out("".join(out) or "\n")
    else:
        context.out(jsontext.dumps(found, indent=None if form else 4) + "\n")
    return code
