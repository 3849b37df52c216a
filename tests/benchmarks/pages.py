"""How quick pages are: their data, a first paint, a move: `python -m tests.benchmarks.pages STORE`.

Loads feature pages in a headless Chromium whose cache is warm; prints medians and 95th percentiles.
"""

import json
import random
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from app.web.url import (
    AtFeature,
    AtHead,
    AtHeads,
    AtHome,
    AtReview,
    AtRuns,
    AtSearch,
    AtSql,
    link,
)
from app.web.widgets.examples import data_of
from atlas.api import Atlas
from atlas.ids import FeatureId, parse_head
from atlas.types import PairQuery, Query
from tests.browser.chrome import browser, served
from tests.browser.reader import Reader

LOADS = 20
WATCH = """
window.seenAt = {};
new MutationObserver(() => {
  for (const [name, css] of [["title", ".stHtml h1"], ["examples", ".ex .one"], ["whole", ".foot"]])
    if (!window.seenAt[name] && document.querySelector(css))
      requestAnimationFrame(() => { window.seenAt[name] ??= performance.now(); });
}).observe(document, { childList: true, subtree: true });
"""
MOVE = """
const done = arguments[arguments.length - 1], from = performance.now();
const before = document.querySelector(".stHtml h1").closest(".two").textContent;
const look = () => {
  const now = document.querySelector(".stHtml h1")?.closest(".two").textContent;
  if (now && now !== before) requestAnimationFrame(() => done(performance.now() - from));
  else requestAnimationFrame(look);
};
[...document.querySelectorAll(".crumbs a")].find((a) => a.textContent.includes("next")).click();
look();
"""


def figures(times: list[float]) -> str:
    """Median and 95th percentile of milliseconds."""
    times = sorted(times)
    return f"p50 {statistics.median(times):6.0f} ms   p95 {times[int(0.95 * len(times))]:6.0f} ms"


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def main(store: Path) -> None:
    """Measure and print."""
    atlas = Atlas.open(store)
    rng = random.Random(0)
    saes = atlas.saes()
    names = [FeatureId(sae.id, rng.randrange(sae.d_sae)) for sae in rng.choices(saes, k=LOADS)]
    atlas.feature(names[0])
    head = f"{saes[0].id.model}/L{saes[0].id.layer}H0"
    jobs: dict[str, Callable[[FeatureId], object]] = {
        "home": lambda _: (atlas.feature(atlas.random_feature()), atlas.review_queue(5)),
        "feature": lambda name: (
            data_of(atlas.feature(name)),
            atlas.families(name),
            atlas.densities(name.sae),
        ),
        "search": lambda _: listed(atlas, Query(sort="support")),
        "words": lambda name: listed(atlas, Query(word_of(atlas, name))),
        "pairs": lambda _: [
            atlas.histograms(hit.row.id for hit in atlas.pairs(PairQuery(distance_max=1)).hits)
        ],
        "head": lambda _: (
            atlas.head(head, 40),
            atlas.head_studies(head),
            atlas.head_metrics(saes[0].id.model),
        ),
        "heads": lambda _: (
            atlas.heads(saes[0].id.model),
            atlas.head_metrics(saes[0].id.model),
            atlas.roles_of_heads(saes[0].id.model),
        ),
        "review": lambda _: (atlas.review_queue(50), atlas.label_methods()),
        "compare": lambda name: atlas.compare(name, names[0]),
        "sae": lambda name: (atlas.sae(name.sae), atlas.densities(name.sae)),
        "run": lambda name: atlas.record(atlas.sae(name.sae).run),
        "studies": lambda _: atlas.studies(),
        "sql": lambda _: (atlas.schema(), atlas.cookbook()),
    }
    for page, job in jobs.items():
        print(f"data of {page:8}", figures([timed(lambda n=n, j=job: j(n)) for n in names]))
    sizes = [len(json.dumps(data_of(atlas.feature(name)))) for name in names]
    middle, most = statistics.median(sizes) / 1000, max(sizes) / 1000
    print(f"examples of a feature: {middle:.0f} kB, at most {most:.0f} kB")
    in_browser(store, [link(AtFeature(name), atlas.snapshot.name) for name in names])
    others = (AtHome(), AtSearch(sort="support"), AtHead(parse_head(head)), AtHeads(), AtReview())
    whole(store, [link(place, atlas.snapshot.name) for place in (*others, AtSql(), AtRuns())])


def word_of(atlas: Atlas, name: FeatureId) -> str:
    """A word that a feature's title has."""
    return next(iter(re.findall(r"\w+", atlas.measured(name).row.title or "")), "the")


def listed(atlas: Atlas, query: Query) -> object:
    """What a page of results shows."""
    names = [hit.row.id for hit in atlas.search(query).hits]
    return atlas.strongest(names), atlas.histograms(names)


def in_browser(store: Path, urls: list[str]) -> None:
    """Full loads with a warm cache, then moves inside the app."""
    with served(store) as site, browser() as driver:
        reader = Reader(driver, site)
        reader.open(urls[0])
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        seen: dict[str, list[float]] = {"title": [], "examples": []}
        for url in urls:
            reader.open(url)
            for name, times in seen.items():
                times.append(driver.execute_script(f"return window.seenAt.{name}") or float("nan"))
        for name, times in seen.items():
            print(f"load to {name:9}", figures([t for t in times if t == t]))
        moves = []
        for _ in range(LOADS):
            moves.append(driver.execute_async_script(MOVE))
            reader.settle()
        print("move to next feature", figures(moves))


def whole(store: Path, urls: list[str]) -> None:
    """Full loads of other pages, until their last line is drawn."""
    with served(store) as site, browser() as driver:
        reader = Reader(driver, site)
        reader.open(urls[0])
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        for url in urls:
            times = []
            for _ in range(LOADS // 2):
                reader.open(url)
                times.append(driver.execute_script("return window.seenAt.whole") or float("nan"))
            print(f"whole {url.split('?')[0]:10}", figures([t for t in times if t == t]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
