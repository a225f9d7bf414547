"""The version, in one place: the build backend, the native program's Makefile and the command read it here."""

VERSION = "0.1.0"
