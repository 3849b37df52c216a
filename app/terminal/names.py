"""What an id or a short form on the command line means."""

from atlas.api import Atlas
from atlas.errors import NotFound
from atlas.ids import FeatureId, HeadId, Id, SaeId, parse
from atlas.types import Feature, Head, Model, Sae


def look_up(atlas: Atlas, text: str) -> Feature | Head | Sae | Model:
    """What an id or a short form names. Raises NotFound as `meant`, or where it does not exist."""
    return _read(atlas, meant(atlas, text))


def meant(atlas: Atlas, text: str) -> Id:
    """The id that an id or a short form stands for; a full one need not exist.

    Raises:
        NotFound: it stands for nothing, or for more than one thing.
    """
    if "/" in text and is_id(text):
        return parse(text)
    found = atlas.jump(text).found
    if len(found) > 1:
        raise NotFound(f"{text} may mean {', '.join(map(str, found))}", "give the full id")
    if not found:
        raise NotFound(f"nothing is called {text}", "try `atlas search`, or an id as it prints")
    return found[0]


def is_id(text: str) -> bool:
    """Whether `text` is a full id."""
    try:
        parse(text)
    except NotFound:
        return False
    return True


def _read(atlas: Atlas, one: Id) -> Feature | Head | Sae | Model:
    if isinstance(one, FeatureId):
        return atlas.feature(one)
    if isinstance(one, HeadId):
        return atlas.head(one)
    return atlas.sae(one) if isinstance(one, SaeId) else atlas.model(str(one))
