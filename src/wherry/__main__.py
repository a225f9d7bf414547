"""`python -m wherry`."""

from __future__ import annotations

from wherry.cli.main import main

main()
