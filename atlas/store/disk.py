"""Snapshots as files: made durable and read-only, and removed when nobody needs them."""

import json
import os
import re
import shutil
from pathlib import Path

from atlas.bundle import sha256_file
from atlas.errors import StoreError
from atlas.store import bests, lists, search, snapshots, texts

_FOLDERS = (snapshots.SEARCH, texts.FOLDER, lists.FOLDER, bests.FOLDER)


def seal(draft: Path) -> None:
    """Make the draft's files durable and read-only, and see that nothing else is there.

    tantivy opens `.tantivy-meta.lock` for writing even to read, so that one file stays writable.
    """
    found = {path.name for path in draft.iterdir()}
    if found != {snapshots.DATABASE, *_FOLDERS}:
        raise StoreError(f"the draft holds {', '.join(sorted(found))}", "publish again")
    files = [path for path in sorted(draft.rglob("*")) if path.is_file()]
    sizes = {str(path.relative_to(draft)): path.stat().st_size for path in files}
    (draft / snapshots.SIZES).write_text(json.dumps(sizes, indent=1))
    hashes = {name: sha256_file(draft / name) for name in sizes}
    (draft / snapshots.HASHES).write_text(json.dumps(hashes, indent=1))
    for path in draft.rglob("*"):
        if path.is_file():
            sync(path)
            path.chmod(0o666 if path.name == search.LOCK else 0o444)
    for path in (*(draft / name for name in _FOLDERS), draft):
        sync(path)
        path.chmod(0o555)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(store: Path) -> None:
    """Remove what dead publishers left: whoever holds the lock is the only one alive."""
    for path in snapshots.folder(store).iterdir():
        if re.match(r"\.(draft|trash)-", path.name):
            remove(path)


def remove_old(store: Path, keep: int) -> None:
    """Remove all but the newest snapshots; each leaves its name before its files go."""
    for number in snapshots.numbers(store)[keep:]:
        path = snapshots.path_of(store, number)
        remove(path.rename(path.with_name(f".trash-{path.name}")))


def remove_unused_weights(store: Path) -> None:
    """Remove weights that no snapshot on disk names; none while one of them cannot be read."""
    try:
        used = {sha for n in snapshots.numbers(store) for sha in snapshots.weights_of(store, n)}
    except StoreError:
        return
    for path in (store / "weights").glob("*"):
        if path.stem not in used:
            path.unlink()


def remove(path: Path) -> None:
    """Remove a draft or a snapshot, sealed or not; nothing happens when it is gone."""
    for folder in (path, *(path / name for name in _FOLDERS)):
        if folder.is_dir():
            folder.chmod(0o755)
    shutil.rmtree(path, ignore_errors=True)
