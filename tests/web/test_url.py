"""URLs: every place as text and back, and what else is refused by name."""

from dataclasses import fields
from urllib.parse import parse_qs

import pytest

from app.web import url
from app.web.trail import Stop, Trail
from atlas.errors import AtlasError
from atlas.ids import FeatureId, HeadId, SaeId
from atlas.types import PairQuery, Query

SAE = SaeId("gpt2", 5, "att-kk")
PLACES = [
    url.AtHome(),
    url.AtJump("5.1"),
    url.AtFeature(FeatureId(SAE, 123)),
    url.AtHead(HeadId("gpt2", 5, 1)),
    url.AtHead(HeadId("gpt2", 5, 1), "weights"),
    url.AtHead(HeadId("gpt2", 5, 1), evidence=url.Ids((FeatureId(SAE, 7), FeatureId(SAE, 8)))),
    url.AtHeads(),
    url.AtHeads(role="induction"),
    url.AtHeads("gpt2", "previous_token:corpus", "features"),
    url.AtSae(SAE),
    url.AtCompare("gpt2/L5H1", "gpt2/L5H6"),
    url.AtPrompt("a\nb &=", pos=0, feature=FeatureId(SAE, 0), src=3),
    url.AtFeature(FeatureId(SAE, 1), "a text"),
    url.AtPrompt(
        "a",
        "b",
        head=HeadId("gpt2", 5, 1),
        depth=0,
        top=8,
        how="scale",
        target="5.1",
        value=-1.5,
        everywhere=True,
        trail=Trail((Stop(FeatureId(SAE, 7), 3, 0), Stop(FeatureId(SAE, 8), 2))),
    ),
    url.AtTest('dst.token == " a&b"\nand head < 5', "5.1", 7),
    url.AtSql("SELECT 1", x="a", y="b"),
    url.AtSql("SELECT 1 + $a & '%'\n-- $b=?", {"a": "1", "b": '"x=&y"'}),
    url.AtRuns("demo-1"),
    url.AtNotes(id="0" * 32),
    url.AtNotes(before=17),
    url.AtCollection(),
    url.AtSearch(),
    url.AtSearch("a", layer=3, view="table"),
    url.AtBasket(url.Ids((FeatureId(SAE, 7), HeadId("gpt2", 5, 1)))),
    url.AtReview("disputed", SAE),
    url.AtStudies("prefix", "gpt2"),
    url.AtSearch('"board members" token:" the" ü', layer=5, head=0, head_min=0.1, disagree=False),
    url.AtSearch(density_max=1e-05, support_min=0.5, dead=True, descending=False, sort="density"),
    PairQuery(dst=" the", src="\n", distance_min=0, distance_max=5),
]


def around(place):
    page, _, rest = url.link(place, "000003").partition("?")
    return url.parse(url.PAGES[page.removeprefix("./")], parse_qs(rest, keep_blank_values=True))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: url.link(place)[:60])
def test_a_place_survives_its_url(place):
    assert around(place) == place


def test_every_page_is_tried_above():
    assert {type(place) for place in PLACES} == set(url.PAGES.values())


@pytest.mark.parametrize("name", [one.name for one in fields(Query)])
def test_no_filter_of_a_search_is_lost_on_the_way(name):
    values = {
        "text": "x", "model": "gpt2", "sae": "gpt2/5-z", "layer": 0, "head": 3, "head_min": 0.125,
        "head_by": "weights", "family": "induction", "tag": "a b", "density_min": 0.0,
        "density_max": 0.3, "support_min": 0.9, "disagree": True, "dead": True, "sort": "id",
        "descending": False, "limit": 50, "after": "abc", "role": "induction", "by": "words",
        "method": "human",
        "score_min": 0.5, "disagreement_min": 0.1,
    }  # fmt: skip
    place = url.AtSearch(**{name: values[name]})
    assert around(place) == place


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Query, {"layer": ["x"]}, "layer is 'x'. it must be a whole number"),
        (Query, {"layer": ["-1"]}, "layer is '-1'"),
        (Query, {"layer": ["²"]}, "layer is '²'"),
        (Query, {"head_min": ["nan"]}, "head_min is 'nan'. it must be a number"),
        (Query, {"dead": ["1"]}, "dead is '1'. it must be true or false"),
        (Query, {"sort": ["size"]}, "sort is 'size'. known: relevance, density"),
        (Query, {"colour": ["red"]}, "unknown parameter 'colour'. known here: text, by"),
        (Query, {"layer": ["1", "2"]}, "layer is given 2 times"),
        (Query, {"p_a": ["1"]}, "unknown parameter 'p_a'"),
        (url.AtHome, {"x": ["1"]}, "unknown parameter 'x'. known here: none"),
        (url.AtFeature, {}, "the URL lacks id"),
        (url.AtFeature, {"id": ["gpt2/L5H1"]}, "not a feature id: 'gpt2/L5H1'"),
        (url.AtHead, {"id": ["x" * 500]}, "not a head id"),
        (url.AtHead, {"id": ["gpt2/L5H1"], "by": ["feel"]}, "by is 'feel'"),
        (url.AtSql, {"p": ["1"]}, "unknown parameter 'p'. known here: query, p_…"),
    ],
)
def test_what_a_url_may_not_say_is_named(kind, given, message):
    with pytest.raises(AtlasError) as refused:
        url.parse(kind, given)
    assert message in str(refused.value)


def test_only_a_snapshot_name_names_a_snapshot():
    assert url.snapshot_of({}) is None
    assert url.snapshot_of({"snapshot": ["000012"]}) == "000012"
    for bad in (["12"], ["../../etc"], ["000001", "000002"], [""]):
        with pytest.raises(AtlasError, match="not a snapshot name"):
            url.snapshot_of({"snapshot": bad})


def test_a_page_moves_to_another_snapshot_with_its_parameters_but_not_its_cursor():
    given = {"text": ["a b"], "snapshot": ["000001"], "after": ["xyz"]}
    assert url.moved(given, "000002") == "?text=a+b&snapshot=000002"


def test_a_saved_search_is_read_like_any_url():
    assert url.search_of("search?text=induction&layer=5") == Query("induction", layer=5)
    with pytest.raises(AtlasError, match="not the URL of a search"):
        url.search_of("javascript:alert(1)")


def test_json_is_linked_where_the_api_has_it():
    assert url.json_of(PLACES[2], "000003") == "features/gpt2/5-att-kk/123?snapshot=000003"
    assert url.json_of(PLACES[3], "000003") == "heads/gpt2/L5H1?snapshot=000003"
    assert url.json_of(Query("x"), "000003") == "search?text=x&snapshot=000003"
    assert url.json_of(url.AtSql("SELECT 1"), "000003") is None
