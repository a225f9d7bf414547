"""Where things lie: the checkout, the data beside it, a folder that every user can reach."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
# the reference data is never part of the project; it lies beside the checkout where there is any
SHARED = Path(os.environ.get("WHERRY_SHARED") or CHECKOUT.parent / "shared")
ALPINE = SHARED / "data" / "images"
SOAK = int(os.environ.get("WHERRY_SOAK") or 0)
# a soak that has only so long: a random test ends after that many seconds with the rounds it has done
SOAK_S = float(os.environ.get("WHERRY_SOAK_S") or "inf")
# how many times slower than an ordinary machine this one is: what waits for something waits that much longer
SLOW = float(os.environ.get("WHERRY_SLOW") or 1)
# a soak's table: a line a test, with rounds, struck, failures, leaks
SOAK_TABLE = os.environ.get("WHERRY_SOAK_TABLE") or ""


def rounds(few: int) -> int:
    """How often a random test is repeated: `few` in CI, WHERRY_SOAK times in a soak."""
    return SOAK or few
