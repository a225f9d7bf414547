"""Where a build's files come from: a folder, an archive or a Dockerfile on standard input, a URL, a Git repository."""

from __future__ import annotations

import os

from wherry.build import git, ignore, source
from wherry.build.context import Context
from wherry.build.ignore import Ignore
from wherry.build.takes import is_tar_header
from wherry.errors import BuildError
from wherry.model import digest as digests
from wherry.store import treeop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.archive.streams import Readable
    from wherry.build.source import Source
    from wherry.store import Store

_NAMES = ("Dockerfile", "dockerfile", "Containerfile")
_TIMEOUT_S = 60


class Inputs:
    """The Dockerfile and the context of a build. A context manager: what had to be unpacked or fetched goes with it.

    `location` and `dockerfile` as on the command line ("" for the usual name, "-" for standard input).
    """

    def __init__(self, store: Store, location: str, dockerfile: str, *, ignorefile: str = "") -> None:
        self._store = store
        self._dockerfile = dockerfile
        self._ignorefile = ignorefile
        self._scratch = ""
        self._text: bytes | None = None
        self._ignored: Ignore | None = None
        self.folder = ""
        self._is_local = False
        # When the commit was made, of a Git repository.
        self.commit_s = -1
        try:
            self._open(location)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._scratch and os.path.lexists(self._scratch):
            treeop.remove_trees([self._scratch])

    def _open(self, location: str) -> None:
        from wherry.archive import streams

        if location == "-":
            if self._dockerfile == "-":
                raise BuildError("can't use stdin for both build context and dockerfile")
            self._stream(streams.FdReader(0))
        elif git.is_git(location) and not os.path.isdir(location):
            where = git.parse(location)
            folder = self._scratch_folder() + "/git"
            _commit, self.commit_s = git.clone(where, folder, keep=where.keep, checksum=where.checksum)
            self.folder = f"{folder}/{where.subdir.strip('/')}".rstrip("/")
        elif location.startswith(("http://", "https://")):
            import urllib.error
            import urllib.request

            try:
                with urllib.request.urlopen(location, timeout=_TIMEOUT_S) as answer:
                    self._stream(answer)
            except (urllib.error.URLError, OSError) as error:
                raise BuildError(f"failed to fetch remote build context {location}: {getattr(error, 'reason', error)}") from None
        elif os.path.isfile(location):
            with open(location, "rb") as file:
                self._stream(file)
            if self._text is not None:
                raise BuildError(f'unable to prepare context: path "{location}" is neither a folder nor an archive')
        else:
            if not os.path.isdir(location):
                what = "not a folder" if os.path.exists(location) else "not found"
                raise BuildError(f'unable to prepare context: path "{location}" {what}')
            self.folder = os.path.realpath(location)
            self._is_local = True

    def _scratch_folder(self) -> str:
        self._scratch = self._store.staging("context")
        os.mkdir(self._scratch, 0o700)
        return self._scratch

    def _stream(self, raw: Readable) -> None:
        """An archive is the context; anything else is a Dockerfile with no context."""
        from wherry.archive import streams

        stream = streams.plain(raw)
        folder = self._scratch_folder() + "/tree"
        os.mkdir(folder, 0o755)
        self.folder = folder
        if is_tar_header(stream.peek(512)):
            # Whoever owned a file where the archive was made: a context's files are root's, so one id is enough.
            treeop.unpack(folder, lambda fd: streams.copy_to_fd(stream, fd), single=True, literal=True)
            return
        self._text = stream.read()

    # -- the Dockerfile and what it leaves out -----------------------------------------------------------------------------

    def source(self) -> Source:
        """The Dockerfile's text. Raises BuildError."""
        if self._dockerfile == "-":
            from wherry.archive import streams

            return source.read(streams.FdReader(0).read(), "Dockerfile")
        if self._text is not None:
            return source.read(self._text, "Dockerfile")
        path = self._path()
        try:
            with open(path, "rb") as file:
                data = file.read(source.MAX_BYTES + 1)
        except OSError as error:
            shown = self._dockerfile or _NAMES[0]
            raise BuildError(f"failed to read dockerfile: open {shown}: {os.strerror(error.errno or 0).lower()}") from error
        if not data.strip():
            raise BuildError(f"the Dockerfile ({os.path.basename(path)}) cannot be empty")
        return source.read(data, os.path.basename(path))

    def _path(self) -> str:
        if self._dockerfile:
            # For a folder -f counts from where the user is, for anything else from within the context.
            if self._is_local and (os.path.lexists(self._dockerfile) or os.path.isabs(self._dockerfile)):
                return self._dockerfile
            return os.path.join(self.folder, self._dockerfile)
        return next((p for p in (os.path.join(self.folder, n) for n in _NAMES) if os.path.lexists(p)), f"{self.folder}/{_NAMES[0]}")

    def context(self) -> Context:
        """The context as .dockerignore shows it."""
        kept = ""
        if self._is_local:
            name = digests.of(os.fsencode(self.folder)).partition(":")[2][:32]
            kept = self._store.path("cache", "context", name)
        return Context(self.folder, self.ignored(), kept)

    def ignored(self) -> Ignore:
        """What .dockerignore, or the file that takes its place, leaves out."""
        if self._ignored is None:
            self._ignored = self._ignore()
        return self._ignored

    def _ignore(self) -> Ignore:
        if self._ignorefile:
            return Ignore(ignore.read(_read(self._ignorefile, must=True) or b""))
        own = "" if self._dockerfile == "-" or self._text is not None else self._path() + ".dockerignore"
        for path in (own, f"{self.folder}/.dockerignore", f"{self.folder}/.containerignore"):
            data = _read(path) if path else None
            if data is not None:
                return Ignore(ignore.read(data))
        return Ignore(())


def _read(path: str, *, must: bool = False) -> bytes | None:
    try:
        with open(path, "rb") as file:
            data = file.read(ignore.MAX_BYTES + 1)
    except OSError as error:
        if must:
            raise BuildError(f"open {path}: {os.strerror(error.errno or 0).lower()}") from error
        return None
    if len(data) > ignore.MAX_BYTES:
        raise BuildError(f"{path} is larger than {ignore.MAX_BYTES >> 20} MiB")
    return data
