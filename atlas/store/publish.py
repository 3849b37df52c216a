"""Bundles into the next snapshot: a draft folder that gets its name only when it is whole.

At any moment a crash or a full disk leaves the snapshots that were there, untouched.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from atlas.bundle import WEIGHTS, Bundle, open_bundle, sync_and_rename
from atlas.errors import BundleError, StoreError
from atlas.store import bests, derive, disk, lists, load, schema, search, snapshots, texts
from atlas.types import Snapshot

KEEP = 3
Progress = Callable[[str], None]


def _quiet(_: str) -> None:
    """No progress shown."""


def utc_now() -> datetime:
    """The time now, without its zone, as the database keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


def publish(
    store: Path,
    bundles: Sequence[Path],
    progress: Progress = _quiet,
    *,
    keep: int = KEEP,
    clock: Callable[[], datetime] = utc_now,
) -> Snapshot:
    """Load bundles into the next snapshot of a store and make it the newest.

    One publisher works at a time; a second one waits. Readers are never disturbed.

    Args:
        store: the store's folder, made when missing.
        bundles: folders of complete bundles, loaded in this order. None of them: only bring the
            newest snapshot to this program's schema.
        progress: told in words what happens.
        keep: how many of the newest snapshots stay on disk.

    Returns:
        The new snapshot, or the newest one when it holds all of this already.

    Raises:
        BundleError: a bundle is incomplete, damaged or contradicts the store.
        StoreError: the disk is full, or the store belongs to a newer program. Whatever is raised,
            no snapshot was added and none was changed.
    """
    store = Path(store)
    try:
        return _publish(store, bundles, progress, keep, clock)
    except (duckdb.Error, OSError) as error:
        raise StoreError(
            f"publishing to {store} failed: {str(error).splitlines()[0]}",
            "the snapshots that were there are untouched; see to the disk's space and rights",
        ) from error


def _publish(
    store: Path,
    bundles: Sequence[Path],
    progress: Progress,
    keep: int,
    clock: Callable[[], datetime],
) -> Snapshot:
    opened = []
    for path in bundles:
        progress(f"checking {path}")
        opened.append(open_bundle(Path(path)))
    if not opened and not snapshots.numbers(store):
        raise StoreError(f"nothing to publish in {store}", "give the folder of a bundle")
    snapshots.folder(store).mkdir(parents=True, exist_ok=True)
    with _lock(store, progress) as counter:
        disk.remove_leftovers(store)
        base = _base(store, progress)
        current = _unchanged(store, base, opened)
        if current is not None:
            progress(f"nothing new: snapshot {current.name} holds it all")
            return current
        number = _next_number(store, counter)
        _make(store, base, number, opened, progress, clock)
        snapshot, con = snapshots.open_number(store, number)
        con.close()
        disk.remove_old(store, keep)
        disk.remove_unused_weights(store)
        progress(f"published snapshot {snapshot.name}")
        return snapshot


@contextmanager
def _lock(store: Path, progress: Progress) -> Iterator[int]:
    """Hold the store's publish lock; gives its file, which keeps the last number used."""
    handle = os.open(store / "publish.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another publisher")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _next_number(store: Path, counter: int) -> int:
    """A snapshot number that was never used, also when somebody deleted the newest folder."""
    text = os.pread(counter, 32, 0).decode("ascii", "replace").strip()
    last = max([int(text) if text.isdigit() else 0, *snapshots.numbers(store)])
    os.pwrite(counter, f"{last + 1:<31}\n".encode(), 0)
    os.fsync(counter)
    return last + 1


def _base(store: Path, progress: Progress) -> int | None:
    """Number of the snapshot to go on from; None in an empty store.

    Raises:
        StoreError: the newest one was made by a newer program: going on would lose its rows.
    """
    latest = schema.steps()[-1].version
    for number in snapshots.numbers(store):
        try:
            version = snapshots.version_of(store, number)
            if snapshots.has_hashes(store, number):
                snapshots.verify(store, number)  # what is damaged is not to be copied on
        except StoreError as error:
            progress(f"passing over {error}")
            continue
        if version > latest:
            schema.check_version(version, latest, f"snapshot {number:06d}")
        return number
    return None


def _unchanged(store: Path, base: int | None, bundles: Sequence[Bundle]) -> Snapshot | None:
    """The newest snapshot, when there is nothing to add to it."""
    if base is None:
        if not bundles:
            raise StoreError(f"nothing to publish in {store}", "give the folder of a bundle")
        return None
    try:
        snapshot, con = snapshots.open_number(store, base)
    except StoreError:  # of an older schema: there is something to do
        return None
    try:
        return snapshot if all(load.is_loaded(con, bundle) for bundle in bundles) else None
    finally:
        con.close()


def _make(
    store: Path,
    base: int | None,
    number: int,
    bundles: Sequence[Bundle],
    progress: Progress,
    clock: Callable[[], datetime],
) -> None:
    """Write the snapshot in a draft folder and give it its name."""
    draft = snapshots.folder(store) / f".draft-{number}-{os.getpid()}"
    draft.mkdir()
    try:
        if base is not None:
            progress(f"copying snapshot {base:06d}")
            source = snapshots.path_of(store, base) / snapshots.DATABASE
            shutil.copyfile(source, draft / snapshots.DATABASE)
        _fill(store, draft, number, bundles, progress, clock)
        disk.seal(draft)
        draft.rename(snapshots.path_of(store, number))
        disk.sync(draft.parent)
    finally:
        disk.remove(draft)


def _fill(
    store: Path,
    draft: Path,
    number: int,
    bundles: Sequence[Bundle],
    progress: Progress,
    clock: Callable[[], datetime],
) -> None:
    con = duckdb.connect(
        str(draft / snapshots.DATABASE),
        config={
            **snapshots.limits(draft / "spill", threads=os.cpu_count()),
            "storage_compatibility_version": "v1.5.0",
        },
    )
    con.execute("SET enable_progress_bar = false")  # progress is told by `progress` alone
    try:
        if applied := schema.migrate(con):
            progress(f"applied {applied} schema migrations")
        for bundle in bundles:
            _keep_weights(store, bundle)
            changed = load.load(con, bundle)
            progress(f"{'loaded' if changed else 'already loaded:'} {bundle.path}")
        _finish(con, number, clock())
        con.execute("CHECKPOINT")
        progress("building the search index")
        search.build(con, draft / snapshots.SEARCH)
        texts.build(con, draft / texts.FOLDER)
        lists.build(con, draft / lists.FOLDER)
        bests.build(con, draft / bests.FOLDER)
    finally:
        with suppress(duckdb.Error):  # closing a database that a full disk made unusable
            con.close()
    shutil.rmtree(draft / "spill", ignore_errors=True)


def _finish(con: duckdb.DuckDBPyConnection, number: int, now: datetime) -> None:
    """Remove what no bundle needs any more and write what is derived from all of them."""
    con.execute("BEGIN")
    load.sweep(con)
    con.execute("DELETE FROM snapshot")
    con.execute("INSERT INTO snapshot VALUES ($number, $now)", {"number": number, "now": now})
    derive.derive(con)
    con.execute("COMMIT")


def _keep_weights(store: Path, bundle: Bundle) -> None:
    """Put the bundle's weights where every snapshot finds them, named by their hash.

    Raises:
        BundleError: an SAE names weights that neither the bundle nor the store has.
    """
    folder = store / "weights"
    folder.mkdir(exist_ok=True)
    if file := bundle.files.get(WEIGHTS):
        _link(bundle.path / WEIGHTS, folder / f"{file.sha256}.safetensors")
    for sae in bundle.read("sae").select(["id", "weights_sha256"]).to_pylist():
        if not (folder / f"{sae['weights_sha256']}.safetensors").exists():
            raise BundleError(
                f"bundle {bundle.path}: SAE {sae['id']} has weights {sae['weights_sha256']}, and no"
                f" such file came with it",
                "restore the folder or ingest again",
            )


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        partial = target.with_suffix(".partial")
        shutil.copyfile(source, partial)
        sync_and_rename(partial, target)
    disk.sync(target.parent)
