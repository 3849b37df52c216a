"""Roles: planted heads of one and of several things, against chance, and the study's claims."""

import numpy as np
import pytest

from atlas.api import Atlas
from atlas.note_types import ROLES
from atlas.store.publish import publish
from ingest.studies import role_rules as rules
from ingest.studies.family_rules import FAMILIES
from ingest.studies.names import STUDIES
from ingest.studies.study import run_study
from tests.studies.planted_heads import KNOWN, RESTING


def a_head(*groups, width=16, noise=0.2, seed=0):
    """Features in groups (count, family or None, word or None), one direction a group."""
    rng = np.random.default_rng(seed)
    directions, families, words = [], [], []
    for count, family, word in groups:
        way = rng.standard_normal(width)
        directions += [way + noise * rng.standard_normal(width) for _ in range(count)]
        families += [family] * count
        words += [{word} if word else set()] * count
    return rules.likeness(np.array(directions), rules.shared(families, words))


def test_a_head_of_three_planted_roles_is_split_into_them():
    found = a_head((4, "induction", None), (3, "single_token", "the"), (3, "local_context", "war"))
    number = rules.clusters(found)
    assert len(set(number)) == 3
    for first, last in ((0, 4), (4, 7), (7, 10)):
        assert len(set(number[first:last])) == 1


def test_a_mechanism_is_one_thing_whatever_the_words_and_directions():
    found = a_head(*((1, "previous_token", f"word{n}") for n in range(10)))
    assert set(rules.clusters(found)) == {0}
    assert rules.cohesion(rules.sameness(found), np.arange(10)) == 1.0


def test_likeness_weighs_direction_words_and_family():
    way = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    families, words = ["single_token", "single_token", None], [{"the", "a"}, {"the"}, {"war"}]
    similar = rules.likeness(way, rules.shared(families, words)).similar
    assert similar[0, 1] == pytest.approx(0.5 + 0.25 / np.sqrt(2) + 0.25)
    assert similar[0, 2] == pytest.approx(0.0)
    assert np.diag(similar) == pytest.approx([1.0, 1.0, 0.75])
    alone = rules.likeness(way, rules.shared([None] * 3, [set()] * 3)).similar
    assert alone[0, 1] == pytest.approx(1.0), "parts that no feature has give their weight away"


def test_content_of_different_directions_and_words_is_not_one_thing():
    found = a_head(*((1, "single_token", f"word{n}") for n in range(10)), width=64)
    assert len(set(rules.clusters(found))) == 10


def test_a_cohesive_head_stands_out_from_shuffled_shares_and_a_mixed_one_does_not():
    groups = [(10, None, "war")] + [(1, None, f"word{n}") for n in range(60)]
    same = rules.sameness(a_head(*groups, width=64))
    rng = np.random.default_rng(1)
    alike = rules.against_chance(same, np.arange(10), rng)
    mixed = rules.against_chance(same, np.arange(20, 30), rng)
    assert alike.p < 0.01
    assert alike.value > alike.null_high
    assert alike.low <= alike.value <= alike.high
    assert mixed.p > 0.05


def test_clusters_needed_are_counted_from_the_largest_and_told_when_they_do_not_reach():
    number, mass = np.array([0, 0, 1, 2]), np.array([3.0, 2.0, 3.0, 2.0])
    firings = np.full(4, 50)

    def needed(total, share):
        return rules.needed(number, mass, firings, total, share, np.random.default_rng(0))

    assert needed(10.0, 0.5).clusters == 1
    assert needed(10.0, 0.8).clusters == 2
    assert needed(10.0, 0.95) == (3, 3, 3)
    assert needed(20.0, 0.8).clusters is None


def test_the_interval_of_clusters_needed_is_wide_for_few_firings_and_holds_the_count():
    rng = np.random.default_rng(0)
    firings = rng.integers(1, 30, 200)
    mass, number = firings * rng.random(200), np.arange(200)
    few = rules.needed(number, mass, firings, float(mass.sum()), 0.8, rng)
    many = rules.needed(number, mass, firings * 1000, float(mass.sum()), 0.8, rng)
    assert few.high - few.low > many.high - many.low
    assert many.low <= many.clusters <= many.high
    assert few.low - 10 <= few.clusters <= few.high + 10


def test_every_family_has_a_role_of_the_vocabulary_of_people():
    assert set(rules.ROLE_OF) == set(FAMILIES)
    assert set(rules.ROLE_OF.values()) <= set(ROLES)


@pytest.fixture(scope="module")
def known(planted, tmp_path_factory):
    """The planted atlas with a study of heads and of roles."""
    import shutil

    store = tmp_path_factory.mktemp("roles") / "store"
    shutil.copytree(planted[0], store)
    small = ["tokens=300", "sequences=4", "repeat_tokens=10", "ablate_contexts=2"]
    publish(store, [run_study("heads", STUDIES["heads"], store, changes=small).path])
    bundle = run_study("roles", STUDIES["roles"], store)
    publish(store, [bundle.path])
    return store, bundle


def test_planted_heads_get_the_roles_they_were_made_for(known):
    store, bundle = known
    rows = bundle.read("head_role").to_pandas()
    rows = rows[(rows.by == "measured") & (rows.k == 10) & (rows["rank"] == 0)]
    best = {(row.sae, row.head): row for row in rows.itertuples()}
    # Ten features: eight of its own, and two of the other head, of which it gives next to nothing.
    for sae, head, role in (
        ("planted/0-att", 0, "previous_token"),
        ("planted/0-att", 1, "duplicate_token"),
    ):
        assert best[(sae, head)].role == role
        assert best[(sae, head)].share > 0.95
        assert len(best[(sae, head)].features) == KNOWN
    with Atlas.open(store) as atlas:
        claims = atlas.sql("SELECT count(*) AS n FROM role_claim").rows
    assert claims == ((0,),)  # nothing of it is among what people claim


def test_a_planted_head_of_two_roles_is_split_into_them(known):
    rows = known[1].read("head_role").to_pandas()
    own = rows[(rows.sae == "planted/1-att") & (rows["head"] == 0) & (rows.k == 10)]
    for _, claims in own.groupby("by"):
        split = {row.role: sorted(row.features) for row in claims.itertuples()}
        assert split == {"induction": [*range(KNOWN)], "attention_sink": RESTING}
    poly = known[1].read("head_polysemanticity").to_pandas()
    poly = poly[(poly.sae == "planted/1-att") & (poly["head"] == 0) & (poly.k == 10)]
    assert poly.clusters.tolist() == [2] * len(poly)
    assert not poly.one_thing.any()


def test_a_claim_rests_on_features_and_on_the_metric_that_speaks_for_it(known):
    rows = known[1].read("head_role_evidence").to_pandas()
    own = rows[(rows.sae == "planted/0-att") & (rows["head"] == 0) & (rows["rank"] == 0)]
    metric = own[own.kind == "metric"].iloc[0]
    assert (metric.target, metric.ref) == ("planted/L0H0", "previous_token")
    assert own[own.kind == "target"].target.str.startswith("planted/0-att/").all()


def test_mass_of_a_planted_head_is_in_one_cluster(known):
    rows = known[1].read("head_polysemanticity").to_pandas()
    row = rows[(rows.by == "mass") & (rows.sae == "planted/0-att") & (rows["head"] == 0)].iloc[0]
    assert (row.need_50, row.need_95) == (1, 1)
    assert row.covered == pytest.approx(1.0)
    shares = known[1].read("polysemantic_share").to_pylist()
    assert {(one["by"], one["k"]) for one in shares} >= {("weights", 10), ("measured", 10)}
    assert all(one["low"] <= one["share"] <= one["high"] for one in shares)


def test_the_api_says_what_the_atlas_says_of_a_studied_head(known):
    from starlette.testclient import TestClient

    from app.http.api import make_app
    from atlas import wire
    from atlas.head_types import HeadComposition, HeadRoles
    from atlas.study_types import FamilyClaim, HeadStudies

    with Atlas.open(known[0]) as atlas:
        client = TestClient(make_app(atlas), "http://localhost")
        for kind, address, found in (
            (HeadRoles, "heads/planted/L0H0/roles", atlas.machine_roles("planted/L0H0")),
            (HeadStudies, "heads/planted/L0H0/studies", atlas.head_studies("planted/L0H0")),
            (
                HeadComposition,
                "heads/planted/L0H0/composition?limit=2",
                atlas.composition("planted/L0H0", 2),
            ),
            (
                tuple[FamilyClaim, ...],
                "features/planted/0-att/0/families",
                atlas.families("planted/0-att/0"),
            ),
        ):
            assert wire.read(kind, client.get(f"/{address}").json()) == found
        roles = atlas.machine_roles("planted/L0H0")
        studied = atlas.head_studies("planted/L0H0")
    assert {one.role for one in roles.roles if one.by == "measured"} >= {"previous_token"}
    assert sum(one.share for one in studied.distances) == pytest.approx(1, abs=1e-4)
    assert all(one.src < one.dst for one in studied.looks if one.weight > 0.9)


def test_the_previous_token_head_composes_with_the_induction_head_by_its_keys(known):
    with Atlas.open(known[0]) as atlas:
        first = atlas.composition("planted/L0H0")
        last = atlas.composition("planted/L1H0")
    by_key = max((edge for edge in first.later if edge.kind == "k"), key=lambda one: one.score)
    assert str(by_key.later) == "planted/L1H0"
    assert by_key.score > 1.5 * first.chance
    best = max((edge for edge in last.earlier if edge.kind == "k"), key=lambda one: one.score)
    assert str(best.head) == "planted/L0H0"


def test_show_prints_the_roles_of_a_head(known, monkeypatch, capsys):
    import sys

    from app.cli import main

    monkeypatch.setattr(sys, "argv", ["atlas", "show", "planted/L0H0", "--store", str(known[0])])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().out
    assert "previous_token" in told
    assert "by chance, p" in told
    assert "is read by" in told
