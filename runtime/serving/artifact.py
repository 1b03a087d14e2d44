"""From where a model is kept to a folder on this machine.

| where it runs | what says where the model is | what arrives |
|---|---|---|
| SageMaker | /opt/ml/model | the archive, unpacked by SageMaker, or as it is |
| KServe | /mnt/models | files of the prefix |
| Vertex AI | AIP_STORAGE_URI | a prefix of a bucket of Vertex AI's own |
| Lambda, Cloud Run, ECS, jobs | MODEL_URI and MODEL_DIGEST | an archive in a bucket |

MODEL_DIGEST is the SHA-256 of the archive, or where files arrive that of signature.json, which holds those of the others. An
archive from MODEL_URI is not opened without it.
"""

import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from runtime.serving.model import SIGNATURE, digest
from runtime.serving.store import TooLargeError, download, open_store

FOLDERS = (Path("/opt/ml/model"), Path("/mnt/models"))
FILES = 1000
"""Most files in an archive."""
LIMIT = 10 << 30
"""Most bytes of an archive, packed and unpacked, where MODEL_MAX_BYTES says nothing else."""


def locate(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder with the model, brought here and checked; raises ValueError that says what is wrong."""
    wanted = environment.get("MODEL_DIGEST", "").removeprefix("sha256:")
    limit = int(environment.get("MODEL_MAX_BYTES", LIMIT))
    cache = Path(environment.get("MODEL_CACHE", tempfile.gettempdir())) / "models"
    if uri := environment.get("MODEL_URI"):
        if not wanted:
            raise ValueError("MODEL_URI goes with MODEL_DIGEST, the SHA-256 of the archive")
        return _archive(uri, wanted, cache, limit)
    if uri := environment.get("AIP_STORAGE_URI"):
        return _opened(_prefix(uri, cache, limit), wanted, cache, limit)
    for folder in (Path(environment["MODEL_DIR"]),) if "MODEL_DIR" in environment else FOLDERS:
        if folder.is_dir():
            return _opened(folder, wanted, cache, limit)
    raise ValueError("none of MODEL_URI, AIP_STORAGE_URI, MODEL_DIR says where the model is")


def _opened(folder: Path, wanted: str, cache: Path, limit: int) -> Path:
    """A folder with files as it is, a folder with an archive unpacked."""
    if (folder / SIGNATURE).is_file():
        if wanted and digest(folder / SIGNATURE) != wanted:
            raise ValueError(f"{SIGNATURE} is not the one of MODEL_DIGEST")
        return folder
    archives = sorted(folder.glob("*.tar.gz"))
    if len(archives) != 1:
        raise ValueError(f"{folder} has neither {SIGNATURE} nor one archive")
    return _unpacked(archives[0], wanted or digest(archives[0]), cache, limit)


def _archive(uri: str, wanted: str, cache: Path, limit: int) -> Path:
    if (cache / wanted).is_dir():
        return cache / wanted
    place, _, name = uri.rpartition("/")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        path = Path(folder) / "model.tar.gz"
        download(open_store(place), name, path, limit)
        return _unpacked(path, wanted, cache, limit)


def _prefix(uri: str, cache: Path, limit: int) -> Path:
    store = open_store(uri)
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=cache))
    for name in store.sizes():
        path = folder / _safe(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        limit -= download(store, name, path, limit)
    return folder


def _unpacked(archive: Path, wanted: str, cache: Path, limit: int) -> Path:
    """Unpack an archive whose digest is right, as a whole or not at all; the folder is named after it."""
    if digest(archive) != wanted:
        raise ValueError("the archive is not the one of MODEL_DIGEST")
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=cache))
    try:
        unpack(archive, folder, limit)
        folder.rename(cache / wanted)
    except OSError:
        if not (cache / wanted).is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return cache / wanted


def unpack(archive: Path, folder: Path, limit: int = LIMIT) -> None:
    """Unpack files, and nothing else, into a folder, and nowhere else; raises ValueError or TooLargeError."""
    try:
        with tarfile.open(archive, "r|gz") as members:
            for count, member in enumerate(members):
                if count >= FILES:
                    raise TooLargeError(f"the archive has more than {FILES} files")
                if member.isdir():
                    continue
                if not member.isreg():
                    raise ValueError(f"the archive has an entry that is no file: {member.name}")
                limit -= member.size
                if limit < 0:
                    raise TooLargeError("the archive holds more than is allowed")
                path = folder / _safe(member.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                source = members.extractfile(member)
                assert source is not None  # noqa: S101 - is a file, see above
                with source, path.open("xb") as target:
                    shutil.copyfileobj(source, target)
    except (tarfile.TarError, zlib.error, EOFError, FileExistsError) as error:
        raise ValueError(f"the archive cannot be read: {error!r}") from None


def _safe(name: str) -> PurePosixPath:
    """A name below a folder; raises ValueError for one that leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise ValueError(f"the archive has a name that leads out of it: {name}")
    return path
