"""Screenshots of every page: `python tests/browser/shots.py STORE FOLDER [page ...]`."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from app.web.url import (
    AtBasket,
    AtCollection,
    AtCompare,
    AtFeature,
    AtHead,
    AtHeads,
    AtHome,
    AtJump,
    AtNotes,
    AtPrompt,
    AtReview,
    AtRuns,
    AtSae,
    AtSearch,
    AtSql,
    AtStudies,
    AtTest,
    Ids,
    link,
)
from app.web.views.sql import written
from atlas.api import Atlas
from atlas.ids import HeadId
from atlas.prompt_types import Firing
from atlas.types import PairQuery, Query
from tests.browser.chrome import browser, served

PROMPT = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"
WIDTHS = (1440, 900)
HEIGHT = "return document.querySelector('[data-testid=stMainBlockContainer]').offsetHeight"


def pages(atlas: Atlas) -> dict[str, str]:
    """Name to relative URL of the pages worth looking at."""
    name = atlas.random_feature(seed=3)
    row_of = atlas.feature(name)
    row = row_of.row
    neighbour = row_of.neighbours[0].row.id if row_of.neighbours else name
    recipe = atlas.cookbook()["features_of_head"]
    head = HeadId(name.sae.model, name.sae.layer, row.dfa_head or 0)
    dead = atlas.search(Query(dead=True, sort="density", descending=False, limit=1)).hits
    fires, source, reader = a_firing(atlas)
    places = {
        "home": AtHome(),
        "search": Query(),
        "search-words": Query((row.title or "the").split()[0].strip("“”,")),
        "search-empty": Query("zzzzzz"),
        "feature": AtFeature(name),
        "dead": AtFeature(dead[0].row.id),
        "head": AtHead(head),
        "head-weights": AtHead(head, "weights"),
        "jump": AtJump("1.1"),
        "heads": AtHeads(),
        "sae": AtSae(name.sae),
        "compare": AtCompare(),
        "compare-features": AtCompare(str(name), str(neighbour)),
        "compare-heads": AtCompare(str(head), str(HeadId(head.model, head.layer, 0))),
        "prompt": AtPrompt(),
        "prompt-found": AtPrompt(PROMPT),
        "prompt-position": AtPrompt(PROMPT, pos=6),
        "prompt-trace": AtPrompt(PROMPT, feature=fires.feature, pos=fires.pos),
        "prompt-step": AtPrompt(
            PROMPT, feature=fires.feature, pos=fires.pos, src=source, head=reader
        ),
        "prompt-change": AtPrompt(
            PROMPT, feature=fires.feature, pos=fires.pos, how="set", value=20.0
        ),
        "prompt-head": AtPrompt(PROMPT, head=reader),
        "prompt-compared": AtPrompt(PROMPT, CORRUPTED),
        "feature-text": AtFeature(name, PROMPT),
        "sql": AtSql(),
        "sql-chart": AtSql(
            "SELECT layer, dfa_share, density FROM feature_card USING SAMPLE 400",
            y="dfa_share",
            x="density",
        ),
        "search-table": AtSearch(row.title or "", view="table"),
        "basket": AtBasket(Ids((name, neighbour, head))),
        "review": AtReview(),
        "studies": AtStudies(),
        **{f"study-{one.study}": AtStudies(one.run) for one in reversed(atlas.studies())},
        "compare-saes": AtCompare(str(atlas.saes()[0].id), str(atlas.saes()[-1].id)),
        "sql-result": AtSql(
            recipe.sql, {one.name: written(one.default) for one in recipe.parameters}
        ),
        "pairs": PairQuery(),
        "pairs-found": PairQuery(distance_min=1, distance_max=1),
        "test": AtTest("src.before == dst.token and distance > 5", str(head)),
        **{f"study-{one.study}": AtStudies(one.run) for one in reversed(atlas.studies())},
        "runs": AtRuns(),
        "run": AtRuns(row_of.run.id),
        "notes": AtNotes(),
        "collections": AtCollection(),
    }
    if changes := atlas.notes.recent(100):
        places["note"] = AtNotes(next(c.note for c in changes if c.kind == "role_claim"))
        places["collection"] = AtCollection(next(c.note for c in changes if c.kind == "collection"))
    urls = {page: link(place, atlas.snapshot.name) for page, place in places.items()}
    return {**urls, "bad": "search?layer=x", "gone": "search?snapshot=000999"}


def a_firing(atlas: Atlas) -> tuple[Firing, int, HeadId]:
    """A feature that fires on the last token, what it mostly reads there, and by which head."""
    opened = atlas.explorer()
    found = opened.features(PROMPT)
    last = len(found.prompt.ids) - 1
    firing = max((o for o in found.layers[-1].firings if o.pos == last), key=lambda one: one.act)
    trace = opened.trace(PROMPT, firing.feature, last)
    source = max(trace.sources[1:], key=lambda one: one.dfa)
    head = max(range(len(source.heads)), key=lambda n: source.heads[n])
    of = firing.feature.sae
    return firing, source.pos, HeadId(of.model, of.layer, head)


def shoot(store: Path, folder: Path, wanted: list[str], dark: bool = False) -> None:
    """One PNG per page and width, the whole page."""
    folder.mkdir(parents=True, exist_ok=True)
    urls = pages(Atlas.open(store))
    with served(store) as at, browser(dark=dark) as driver:
        for page in wanted or urls:
            for width in WIDTHS:
                driver.set_window_size(width, 900)
                driver.get(f"{at}/{urls[page]}")
                settled(driver)
                height = driver.execute_script(HEIGHT)
                driver.set_window_size(width, min(5000, max(900, height + 140)))
                time.sleep(0.3)
                driver.save_screenshot(str(folder / f"{page}-{width}{'-dark' if dark else ''}.png"))


def settled(driver) -> None:
    """Wait until the script of the page has run."""
    WebDriverWait(driver, 120).until(
        lambda d: (
            d.find_elements(By.CSS_SELECTOR, ".top")
            and d.find_element(By.CSS_SELECTOR, ".stApp").get_attribute("data-test-script-state")
            == "notRunning"
        )
    )
    time.sleep(0.4)


if __name__ == "__main__":
    dark = "--dark" in sys.argv
    arguments = [one for one in sys.argv[1:] if one != "--dark"]
    shoot(Path(arguments[0]), Path(arguments[1]), arguments[2:], dark)
