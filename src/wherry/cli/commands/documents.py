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
    found = []
    code = 0
    for name in names:
        try:
            found.append(get(name))
        except WherryError as error:
            code = 1
            if error.id == "not-found":
                context.error(missing.format(name))
            else:
                context.fail(error)
    if form and form != "json":
        from wherry.cli.template import compile_template

        render = compile_template(form)
        context.out("".join(render(document) + "\n" for document in found))
    elif form == "json":
        context.out(jsontext.dumps(found) + "\n")
    else:
        context.out(jsontext.dumps(found, indent=4) + "\n")
    return code
