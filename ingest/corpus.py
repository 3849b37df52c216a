"""From documents to fixed contexts of token ids; the only file that knows `datasets`."""

import ast
import hashlib
import random
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.bundle import sync_and_rename
from atlas.errors import CorpusError
from ingest.config import CorpusPart

Tokenise = Callable[[Sequence[str]], list[list[int]]]
"""Texts to token ids, without start or end tokens."""

FORMATS = {".txt": "text", ".md": "text", ".jsonl": "json", ".parquet": "parquet"}
SOURCE_EVERY, SOURCE_CHARACTERS = 3, 4_000
"""Which standard-library files give code, and how much: so that code does not drown the prose."""


class Document(NamedTuple):
    """One text."""

    id: str
    source: str
    text: str


class Contexts(NamedTuple):
    """Fixed windows of token ids."""

    tokens: NDArray[np.int32]  # [context, pos], 0 after a window's end
    length: NDArray[np.int32]  # [context], tokens of the window
    doc: NDArray[np.int32]  # [context], index into the corpus' documents
    start: NDArray[np.int32]  # [context], tokens of the document before the window


class Corpus(NamedTuple):
    """Contexts for each purpose, no document in two of them."""

    evaluate: Contexts
    mine: Contexts
    train: Contexts
    doc_ids: list[str]
    doc_sources: list[str]
    sha256: str  # of all token ids


def build(
    documents: Iterable[Document],
    tokenise: Tokenise,
    part: CorpusPart,
    bos: int | None,
    wanted: tuple[int, int, int],
    report: Callable[[int], None] = lambda _: None,
) -> Corpus:
    """Cut documents into contexts until evaluation, mining and training have their tokens.

    Whole documents go to evaluation until it is full, then to mining, the rest to training.

    Args:
        documents: in the order in which they are to be used.
        tokenise: texts to token ids.
        part: length, packing and leftovers.
        bos: token that starts every context, or None for none.
        wanted: tokens for evaluation, mining and training; training may get fewer.
        report: told the tokens of every document.

    Raises:
        CorpusError: the documents do not fill evaluation and mining, or leave nothing to train on.
    """
    names: list[tuple[str, str]] = []
    cutter = _Cutter(part, bos)
    splits: list[list[_Row]] = [[], [], []]
    filled = [0, 0, 0]
    split = 0
    for document, tokens in _tokenised(documents, tokenise):
        names.append((document.id, document.source))
        rows = [_row(window) for window in cutter.cut(len(names) - 1, tokens)]
        count = sum(len(row.tokens) for row in rows)
        splits[split] += rows
        filled[split] += count
        report(count)
        if filled[split] >= wanted[split]:
            cutter.forget()
            split += 1
        if split == 3:
            break
    if not filled[2]:
        raise CorpusError(
            f"corpus {part.name} has {sum(filled):,} usable tokens; this job wants "
            f"{wanted[0]:,} to evaluate, {wanted[1]:,} to mine and the rest to train",
            "give more text, or lower evaluate.tokens and mine.tokens",
        )
    evaluate, mine, train = (_stack(rows, part.context_length) for rows in splits)
    digest = hashlib.sha256()
    for one in (evaluate, mine, train):
        digest.update(one.tokens.tobytes())
    ids, sources = (list(column) for column in zip(*names, strict=True))
    return Corpus(evaluate, mine, train, ids, sources, digest.hexdigest())


class Text(NamedTuple):
    """Contexts for one purpose."""

    contexts: Contexts
    doc_ids: list[str]
    doc_sources: list[str]
    sha256: str  # of all token ids


def take(
    documents: Iterable[Document],
    tokenise: Tokenise,
    part: CorpusPart,
    bos: int | None,
    tokens: int,
) -> Text:
    """Cut whole documents into contexts until there are so many tokens.

    Raises:
        CorpusError: the documents hold fewer.
    """
    names: list[tuple[str, str]] = []
    rows: list[_Row] = []
    cutter, filled = _Cutter(part, bos), 0
    for document, ids in _tokenised(documents, tokenise):
        names.append((document.id, document.source))
        new = [_row(window) for window in cutter.cut(len(names) - 1, ids)]
        rows += new
        filled += sum(len(row.tokens) for row in new)
        if filled >= tokens:
            break
    if filled < tokens:
        raise CorpusError(
            f"corpus {part.name} has {filled:,} held-out tokens; {tokens:,} are wanted",
            "lower `tokens`, or give more text with `corpus.name`",
        )
    contexts = _stack(rows, part.context_length)
    ids_, sources = (list(column) for column in zip(*names, strict=True))
    return Text(contexts, ids_, sources, hashlib.sha256(contexts.tokens.tobytes()).hexdigest())


def kept_apart(
    documents: Iterable[Document],
    tokenise: Tokenise,
    part: CorpusPart,
    bos: int | None,
    wanted: Sequence[int],
) -> Iterator[Document]:
    """The documents that `build` gives to evaluation and mining, so that none was trained on.

    Args:
        documents, tokenise, part, bos: as `build` got them.
        wanted: tokens for evaluation and for mining.
    """
    cutter, split, filled = _Cutter(part, bos), 0, 0
    for document, ids in _tokenised(documents, tokenise):
        yield document
        filled += sum(len(window.tokens) for window in cutter.cut(0, ids))
        if filled >= wanted[split]:
            cutter.forget()
            split, filled = split + 1, 0
            if split == len(wanted):
                return


class _Window(NamedTuple):
    doc: int
    start: int
    tokens: list[int]


class _Row(NamedTuple):
    """A window that is kept: as Python's integers a large corpus would take ten times the room."""

    doc: int
    start: int
    tokens: NDArray[np.int32]


def _row(window: _Window) -> _Row:
    return _Row(window.doc, window.start, np.array(window.tokens, np.int32))


class _Cutter:
    """Cuts documents into windows; when packing, what is left over starts the next window."""

    def __init__(self, part: CorpusPart, bos: int | None) -> None:
        self.length, self.pack, self.min_tokens = part.context_length, part.pack, part.min_tokens
        self.bos = [] if bos is None else [bos]
        self.left = _Window(0, 0, [])

    def cut(self, doc: int, ids: list[int]) -> Iterator[_Window]:
        return self._packed(doc, ids) if self.pack else self._separate(doc, ids)

    def forget(self) -> None:
        """Drop what is left over, so that no document reaches into another split."""
        self.left = _Window(0, 0, [])

    def _separate(self, doc: int, ids: list[int]) -> Iterator[_Window]:
        body = self.length - len(self.bos)
        for start in range(0, len(ids), body):
            piece = ids[start : start + body]
            if len(piece) >= min(self.min_tokens, body):
                yield _Window(doc, start, self.bos + piece)

    def _packed(self, doc: int, ids: list[int]) -> Iterator[_Window]:
        """As the paper: a start token before each document, position 0 overwritten with it."""
        first = self.left if self.left.tokens else _Window(doc, 0, [])
        stream = self.left.tokens + self.bos + ids
        whole = len(stream) // self.length * self.length
        for begin in range(0, whole, self.length):
            tokens = self.bos + stream[begin + len(self.bos) : begin + self.length]
            if begin == 0:
                yield first._replace(tokens=tokens)
            else:
                yield _Window(doc, begin - len(self.left.tokens) - len(self.bos), tokens)
        rest = stream[whole:]
        start = first.start if whole == 0 else len(ids) - len(rest)
        self.left = _Window(first.doc if whole == 0 else doc, max(0, start), rest)


def _tokenised(
    documents: Iterable[Document], tokenise: Tokenise
) -> Iterator[tuple[Document, list[int]]]:
    stream = iter(documents)
    while group := list(islice(stream, 64)):
        yield from zip(group, tokenise([document.text for document in group]), strict=True)


def _stack(rows: list[_Row], length: int) -> Contexts:
    tokens = np.zeros((len(rows), length), np.int32)
    for into, row in zip(tokens, rows, strict=True):
        into[: len(row.tokens)] = row.tokens
    column = {
        "length": [len(row.tokens) for row in rows],
        "doc": [row.doc for row in rows],
        "start": [row.start for row in rows],
    }
    return Contexts(tokens, *(np.array(values, np.int32) for values in column.values()))


def read(part: CorpusPart) -> Iterator[Document]:
    """The documents of a corpus in the order of its seed.

    Raises:
        CorpusError: nothing of that name, no documents, or a row without text.
    """
    documents = _builtin(part.seed) if part.name == "builtin" else _dataset(part)
    first = next(documents, None)
    if first is None:
        raise CorpusError(f"corpus {part.name} has no documents")
    yield first
    yield from documents


def _dataset(part: CorpusPart) -> Iterator[Document]:
    import datasets  # noqa: PLC0415 (takes seconds)

    datasets.disable_progress_bars()
    try:
        rows = _open(datasets, part)
        rows = rows.map(lambda row, number: {**row, "_row": number}, with_indices=True)
        for row in rows.shuffle(seed=part.seed, buffer_size=10_000):
            yield _document(part, row)
    except CorpusError:
        raise
    except Exception as error:  # noqa: BLE001 (datasets raises whatever its readers raise)
        reason = str(error).strip().splitlines()[-1][:300] if str(error).strip() else repr(error)
        raise CorpusError(
            f"corpus {part.name} cannot be read: {type(error).__name__}: {reason}",
            f"give builtin, a {', '.join(FORMATS)} file, a folder of them, or a hub dataset",
        ) from error


def _open(datasets: Any, part: CorpusPart) -> Any:
    files = _files(part.name)
    if not files:
        return datasets.load_dataset(part.name, part.subset, split=part.split, streaming=True)
    form = FORMATS[files[0].suffix]
    more = {"sample_by": "document"} if form == "text" else {}
    names = [str(file) for file in files]
    return datasets.load_dataset(form, data_files=names, split="train", streaming=True, **more)


def _files(name: str) -> list[Path]:
    """Local files that `name` means; none when it can only be a hub name."""
    path = Path(name).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in FORMATS)
        kinds = {FORMATS[file.suffix] for file in files}
        if len(kinds) != 1:
            raise CorpusError(
                f"folder {name} holds files of {' and '.join(sorted(kinds)) or 'no known format'}",
                f"give a folder with one kind of {', '.join(FORMATS)}",
            )
        return files
    if path.is_file():
        if path.suffix not in FORMATS:
            raise CorpusError(f"corpus {name} has no known format", f"known: {', '.join(FORMATS)}")
        return [path]
    if path.suffix in FORMATS or name.startswith((".", "/", "~")):
        raise CorpusError(f"no corpus file {name}")
    return []


def _document(part: CorpusPart, row: dict[str, Any]) -> Document:
    text, number = row.get(part.text), row["_row"]
    if part.text not in row:
        known = ", ".join(sorted(column for column in row if column != "_row"))
        raise CorpusError(
            f"corpus {part.name} has no column {part.text!r}", f"set corpus.text to one of: {known}"
        )
    if not isinstance(text, str):
        raise CorpusError(
            f"corpus {part.name}: row {number} has no text in column {part.text!r}",
            "mend or remove the row",
        )
    source = row.get(part.source) if part.source else Path(part.name).stem
    return Document(str(row.get("id", number)), str(source), text)


def _builtin(seed: int) -> Iterator[Document]:
    """Text that every Python carries: language topics, docstrings, the head of every source."""
    topics = Path(sysconfig.get_paths()["stdlib"], "pydoc_data", "topics.py")
    library = _library()
    makers: list[tuple[str, str, Path]] = [
        *(("docstrings", name, path) for name, path in library),
        *(("source", name, path) for name, path in library[::SOURCE_EVERY]),
    ]
    documents = _topics(topics) if topics.is_file() else []
    order: list[Document | tuple[str, str, Path]] = [*documents, *makers]
    random.Random(seed).shuffle(order)  # noqa: S311
    for item in order:
        document = item if isinstance(item, Document) else _from_source(*item)
        if document is not None:
            yield document


def _library() -> list[tuple[str, Path]]:
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"site-packages", "test", "tests", "idle_test", "encodings", "pydoc_data", "lib2to3"}
    found = [(str(path.relative_to(root)), path) for path in sorted(root.rglob("*.py"))]
    return [(name, path) for name, path in found if not left_out & set(Path(name).parts)]


def _topics(path: Path) -> list[Document]:
    tree = ast.parse(path.read_text("utf-8"))
    table = next(node.value for node in tree.body if isinstance(node, ast.Assign))
    topics: dict[str, str] = ast.literal_eval(table)
    return [Document(f"topic:{name}", "python-topics", topics[name]) for name in sorted(topics)]


def _from_source(kind: str, name: str, path: Path) -> Document | None:
    try:
        text = path.read_text("utf-8")
        body = text[:SOURCE_CHARACTERS] if kind == "source" else _docstrings(text)
    except (SyntaxError, UnicodeDecodeError):
        return None  # the library carries a few broken files on purpose
    return Document(f"{kind}:{name}", f"python-{kind}", body) if body.strip() else None


def _docstrings(text: str) -> str:
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (
        ast.get_docstring(node) for node in ast.walk(ast.parse(text)) if isinstance(node, nodes)
    )
    return "\n\n".join(doc for doc in found if doc and len(doc) >= 40)


def save(path: Path, corpus: Corpus) -> None:
    """Write a corpus whole or not at all, so that a resumed job does not tokenise again."""
    arrays: dict[str, Any] = {
        f"{split}_{name}": array
        for split in ("evaluate", "mine", "train")
        for name, array in getattr(corpus, split)._asdict().items()
    }
    draft = path.with_suffix(".partial")
    with draft.open("wb") as handle:
        np.savez(
            handle,
            allow_pickle=False,
            **arrays,
            doc_ids=np.array(corpus.doc_ids),
            doc_sources=np.array(corpus.doc_sources),
            sha256=np.array(corpus.sha256),
        )
    sync_and_rename(draft, path)


def load(path: Path) -> Corpus:
    """What `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        evaluate, mine, train = (
            Contexts(*(file[f"{split}_{name}"] for name in Contexts._fields))
            for split in ("evaluate", "mine", "train")
        )
        ids, sources = file["doc_ids"].tolist(), file["doc_sources"].tolist()
        return Corpus(evaluate, mine, train, ids, sources, str(file["sha256"]))
