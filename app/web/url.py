"""Where a page is: its name and parameters as a URL, and back. Pages hold no other state.

A page's parameters are a frozen dataclass; `link` leaves out what equals the default, and `parse`
is its exact inverse. Anything else in a URL is refused by name, never guessed at.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs, urlencode

from app.web.trail import Trail, parse_trail
from atlas.errors import AtlasError, QueryError
from atlas.ids import FeatureId, HeadId, Id, ModelId, SaeId, parse_feature, parse_head, parse_sae
from atlas.ids import parse as parse_id
from atlas.label_types import ReviewReason
from atlas.types import HeadBy, PairQuery, Query

SNAPSHOT = "snapshot"
"""The parameter of every page that names the snapshot it shows."""
_SNAPSHOT = re.compile(r"\d{6,}")
_MOST_IDS = 200
_PREFIX = "p_"
"""Begins the names of a query's own parameters."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Several ids, as `gpt2/L5H1,gpt2/5-att-kk/123` in a URL."""

    names: tuple[Id, ...] = ()

    def __str__(self) -> str:
        return ",".join(map(str, self.names))


@dataclass(frozen=True, slots=True)
class AtHome:
    """What is in the atlas."""


@dataclass(frozen=True, slots=True)
class AtJump:
    """What an id or a short form means."""

    q: str = ""


@dataclass(frozen=True, slots=True)
class AtFeature:
    """One feature."""

    id: FeatureId
    text: str = ""
    """A text of one's own to try it on."""


@dataclass(frozen=True, slots=True)
class AtHead:
    """One head, with its features by measured or by weight share."""

    id: HeadId
    by: HeadBy = "measured"
    evidence: Ids = Ids()
    """Features that the form for a new claim begins with."""


@dataclass(frozen=True, slots=True)
class AtHeads:
    """All heads of a model."""

    model: str | None = None
    metric: str = "features"
    """What colours the grid and ranks the heads: a count, or `metric:condition`."""
    other: str = "weight_features"
    """What the scatter sets against it."""
    role: str | None = None
    """Only heads with this role, claimed by people or by a study."""


@dataclass(frozen=True, slots=True)
class AtSae:
    """One SAE."""

    id: SaeId


@dataclass(frozen=True, slots=True)
class AtCompare:
    """Two features or two heads side by side."""

    a: str = ""
    b: str = ""


@dataclass(frozen=True, slots=True)
class AtSql:
    """A query over evidence and notes."""

    query: str = ""
    p: dict[str, str] = field(default_factory=dict)
    """Its named parameters, in a URL as `p_layer=5`."""
    x: str = ""
    y: str = ""
    """Columns of the chart; none while `y` is empty."""


@dataclass(frozen=True, slots=True)
class AtTest:
    """A hypothesis about firings, tested on a target."""

    hypothesis: str = ""
    target: str = ""
    """Id of a feature, a head or an SAE, or a short form of one."""
    seed: int = 0


How = Literal["", "zero", "mean", "resample", "set", "scale"]
"""What is done to a feature or a head of a prompt; empty for nothing."""


@dataclass(frozen=True, slots=True)
class AtPrompt:
    """A text seen through the SAEs: what fires, one feature's sources, what wrote one of them."""

    text: str = ""
    other: str = ""
    """A second text to compare with."""
    model: str | None = None
    pos: int | None = None
    feature: FeatureId | None = None
    src: int | None = None
    head: HeadId | None = None
    """The head whose attention is shown."""
    depth: int = 2
    top: int = 5
    """How far the graph goes, and how many pieces it shows of each feature."""
    how: How = ""
    target: str = ""
    """The feature or head that is changed; empty for the one that is shown."""
    value: float | None = None
    everywhere: bool = False
    """Whether it is changed at every position, or only at `pos`."""
    trail: Trail = Trail()


@dataclass(frozen=True, slots=True)
class AtRuns:
    """All runs, or one."""

    id: str | None = None


@dataclass(frozen=True, slots=True)
class AtNotes:
    """What people wrote lately, or the history of one note."""

    id: str | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class AtCollection:
    """All collections, or one."""

    id: str | None = None


@dataclass(frozen=True, slots=True)
class AtSearch(Query):
    """A search, and how its results are drawn."""

    view: Literal["cards", "table"] = "cards"


@dataclass(frozen=True, slots=True)
class AtBasket:
    """What a reader chose."""

    ids: Ids = Ids()


@dataclass(frozen=True, slots=True)
class AtReview:
    """Features that wait for a person."""

    reason: ReviewReason | None = None
    sae: SaeId | None = None


@dataclass(frozen=True, slots=True)
class AtStudies:
    """All studies, or one by its name or its run's."""

    study: str | None = None
    model: str | None = None


Place = (
    AtHome | AtBasket | AtReview | AtStudies | AtJump | AtFeature | AtHead | AtHeads | AtSae
    | AtCompare | AtPrompt | AtSql | AtTest | AtRuns | AtNotes | AtCollection | Query | PairQuery
)  # fmt: skip
P = TypeVar("P")

PAGES: dict[str, type] = {
    "": AtHome,
    "search": AtSearch,
    "basket": AtBasket,
    "review": AtReview,
    "studies": AtStudies,
    "pairs": PairQuery,
    "feature": AtFeature,
    "head": AtHead,
    "heads": AtHeads,
    "sae": AtSae,
    "compare": AtCompare,
    "prompt": AtPrompt,
    "sql": AtSql,
    "test": AtTest,
    "runs": AtRuns,
    "notes": AtNotes,
    "collections": AtCollection,
    "jump": AtJump,
}
"""Page, as it stands in the URL, to its parameters."""
_NAMES = {kind: name for name, kind in PAGES.items()} | {Query: "search"}


def link(place: Place, snapshot: str | None = None) -> str:
    """The URL of a place, relative to any page; `snapshot` pins what it shows."""
    pairs = [*_pairs(place), *([(SNAPSHOT, snapshot)] if snapshot else [])]
    name = _NAMES[type(place)] or "./"
    return f"{name}?{urlencode(pairs, safe='/:,')}" if pairs else name


def parse(kind: type[P], parameters: Mapping[str, Sequence[str]]) -> P:
    """The place of page `kind` that these parameters spell, the snapshot's name left aside.

    Raises:
        QueryError: a parameter is unknown, repeated, missing or has a value of the wrong kind.
        NotFound: an id has not the form of one.
    """
    values: dict[str, Any] = {}
    types = _types(kind)
    for name, given in parameters.items():
        if name == SNAPSHOT:
            continue
        if len(given) != 1:
            raise QueryError(f"{_short(name)} is given {len(given)} times", "give it once")
        if name.startswith(_PREFIX) and get_origin(types.get("p")) is dict:
            values.setdefault("p", {})[name.removeprefix(_PREFIX)] = given[0]
        elif name in types and get_origin(types[name]) is not dict:
            values[name] = _value(name, types[name], given[0])
        else:
            known = ", ".join(_PREFIX + "…" if n == "p" else n for n in types)
            raise QueryError(
                f"unknown parameter {_short(name)!r}", f"known here: {known or 'none'}"
            )
    for one in fields(kind):  # type: ignore[arg-type]
        required = one.default is MISSING and one.default_factory is MISSING
        if required and one.name not in values:
            raise QueryError(f"the URL lacks {one.name}", "open the page from a search or a list")
    return kind(**values)


def moved(parameters: Mapping[str, Sequence[str]], snapshot: str) -> str:
    """The same page of another snapshot."""
    kept = [(name, text) for name, given in parameters.items() for text in given]
    pairs = [pair for pair in kept if pair[0] not in (SNAPSHOT, "after")]
    return "?" + urlencode([*pairs, (SNAPSHOT, snapshot)], safe="/:,")


def search_of(text: str) -> Query:
    """The search that a saved URL spells. Raises QueryError when it is no search."""
    page, _, rest = text.partition("?")
    if page.rsplit("/")[-1] != "search":
        raise QueryError(f"not the URL of a search: {_short(text)!r}", "it begins with search?")
    return parse(Query, parse_qs(rest, keep_blank_values=True))


def snapshot_of(parameters: Mapping[str, Sequence[str]]) -> str | None:
    """The snapshot that a URL names. Raises QueryError when it is no snapshot's name."""
    given = parameters.get(SNAPSHOT)
    if given is None:
        return None
    if len(given) != 1 or not _SNAPSHOT.fullmatch(given[0]):
        raise QueryError(f"not a snapshot name: {_short(given[0])!r}", "a name looks like 000003")
    return given[0]


def at(name: Id) -> Place:
    """The page of an id."""
    match name:
        case FeatureId():
            return AtFeature(name)
        case HeadId():
            return AtHead(name)
        case SaeId():
            return AtSae(name)
        case ModelId():
            return AtHeads(model=name.name)


def json_of(place: Place, snapshot: str) -> str | None:
    """Where the query API has what a page shows, relative to its root; None for pages without."""
    match place:
        case AtHome():
            path = "stats"
        case AtFeature(id=name):
            path = f"features/{name}"
        case AtHead(id=name):
            path = f"heads/{name}"
        case AtSae(id=name):
            path = f"saes/{name}"
        case AtHeads(model=str() as model):
            path = f"heads/{model}"
        case AtRuns(id=run):
            path = f"runs/{run}" if run else "runs"
        case AtSearch():
            kept = {one.name: getattr(place, one.name) for one in fields(Query)}
            return link(Query(**kept), snapshot)
        case AtTest(hypothesis=text):
            return link(place, snapshot) if text.strip() else None
        case Query() | PairQuery():
            return link(place, snapshot)
        case _:
            return None
    return f"{path}?{urlencode([(SNAPSHOT, snapshot)])}"


def _pairs(place: Place) -> list[tuple[str, str]]:
    pairs = []
    for one in fields(place):
        value = getattr(place, one.name)
        if isinstance(value, dict):
            pairs += [(_PREFIX + key, text) for key, text in value.items()]
        elif value is not None and value != one.default:
            pairs.append((one.name, _text(value)))
    return pairs


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(name: str, kind: Any, text: str) -> Any:
    if get_origin(kind) in (Union, UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise QueryError(f"{name} is {_short(text)!r}", f"known: {', '.join(get_args(kind))}")
        return text
    read, what = _READERS[kind]
    try:
        return read(text)
    except AtlasError:
        raise
    except ValueError as error:
        raise QueryError(f"{name} is {_short(text)!r}", f"it must be {what}") from error


def _ids(text: str) -> Ids:
    names = tuple(dict.fromkeys(parse_id(one) for one in text.split(",") if one))
    if len(names) > _MOST_IDS:
        raise QueryError(f"{len(names)} ids", f"at most {_MOST_IDS} fit in a URL")
    return Ids(names)


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,12}", text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9.eE+-]{1,40}", text):
        raise ValueError(text)
    return float(text)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


_READERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    int: (_whole, "a whole number"),
    float: (_number, "a number"),
    bool: (_flag, "true or false"),
    FeatureId: (parse_feature, "a feature"),
    HeadId: (parse_head, "a head"),
    SaeId: (parse_sae, "an SAE"),
    Trail: (parse_trail, "a trail"),
    Ids: (_ids, "ids"),
}


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"
