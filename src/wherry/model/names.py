"""Ids and names of containers: docker's rules, our own words."""

from __future__ import annotations

import os

_FIRST = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_REST = _FIRST + "_.-"

_ADJECTIVES = (
    "able", "amber", "azure", "balmy", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid", "clear", "clever", "cosy", "crisp",
    "daring", "deft", "dapper", "eager", "early", "easy", "fair", "faithful", "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden",
    "grand", "hardy", "hearty", "honest", "humble", "jolly", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry",
    "mighty", "mild", "modest", "neat", "nimble", "noble", "patient", "placid", "plucky", "polite", "proud", "quick", "quiet", "rapid",
    "ready", "serene", "sharp", "silent", "sincere", "sleek", "snug", "solid", "spry", "steady", "still", "sturdy", "sunny", "swift",
    "tidy", "trusty", "upbeat", "vivid", "warm", "wise", "witty", "zesty",
)  # fmt: skip
# People of science, and of the sea.
_SURNAMES = (
    "abel", "amundsen", "archimedes", "babbage", "banneker", "bardeen", "beaufort", "blackwell", "bohr", "boole", "bose", "bowditch",
    "brahe", "carson", "cavendish", "chandra", "cook", "copernicus", "cori", "curie", "darwin", "dijkstra", "dirac", "earhart", "edison",
    "einstein", "euclid", "euler", "faraday", "fermat", "fermi", "feynman", "franklin", "galileo", "galois", "gauss", "germain", "goodall",
    "hamilton", "harrison", "hawking", "heisenberg", "herschel", "hertz", "hodgkin", "hopper", "hypatia", "jemison", "johnson", "joliot",
    "kepler", "khayyam", "knuth", "kovalevskaya", "lamarr", "lamport", "laplace", "leavitt", "leibniz", "liskov", "lovelace", "magellan",
    "maxwell", "mccarthy", "meitner", "mendel", "mercator", "mirzakhani", "nansen", "newton", "nightingale", "noether", "pascal",
    "pasteur", "payne", "perlman", "planck", "ptolemy", "raman", "ramanujan", "ride", "ritchie", "rubin", "shannon", "slocum",
    "somerville", "swartz", "tesla", "torvalds", "turing", "volta", "wiles", "wilson", "wing", "wozniak", "wu", "yalow",
)  # fmt: skip


def is_valid(name: str) -> bool:
    """[a-zA-Z0-9][a-zA-Z0-9_.-]+ — at least two characters."""
    return len(name) >= 2 and name[0] in _FIRST and all(c in _REST for c in name)


def new_id() -> str:
    """64 hexadecimal digits; the first twelve, which become the host name, are not all decimal."""
    while True:
        found = os.urandom(32).hex()
        if not found[:12].isdigit():
            return found


def random_name(attempt: int = 0) -> str:
    """adjective_surname; from the second attempt with a digit behind it."""
    number = int.from_bytes(os.urandom(6), "little")
    adjective = _ADJECTIVES[number % len(_ADJECTIVES)]
    number //= len(_ADJECTIVES)
    surname = _SURNAMES[number % len(_SURNAMES)]
    digit = str(number // len(_SURNAMES) % 10) if attempt else ""
    return f"{adjective}_{surname}{digit}"
