"""How fast the query API answers over a socket. Make a SYNTHETIC atlas first, then:

python -m tests.benchmarks.serving_http FOLDER/store
"""

import argparse
import random
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlencode

import uvicorn

from app.http.api import make_app
from atlas.api import Atlas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rounds", type=int, default=300)
    given = parser.parse_args()
    with Atlas.open(given.store) as atlas:
        server = uvicorn.Server(uvicorn.Config(make_app(atlas), port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        measure(atlas, server.servers[0].sockets[0].getsockname()[1], given.rounds)
        server.should_exit = True
        thread.join()


def measure(atlas: Atlas, port: int, rounds: int) -> None:
    """Print how long one client on one connection waits, first and then."""
    line = HTTPConnection("127.0.0.1", port)
    print(f"{atlas.stats()}\n{'request':36}{'first':>9}{'p50':>9}{'p95':>9} ms {'bytes':>9}")
    for name, address in addresses(atlas, random.Random(0)).items():
        took, size = [], 0
        for _ in range(rounds + 1):
            start = time.perf_counter()
            size = max(size, _get(line, address()))
            took.append((time.perf_counter() - start) * 1000)
        warm = sorted(took[1:])
        p50, p95 = warm[len(warm) // 2], warm[int(len(warm) * 0.95)]
        print(f"{name:36}{took[0]:9.1f}{p50:9.1f}{p95:9.1f}    {size:9}")


def _get(line: HTTPConnection, address: str) -> int:
    line.request("GET", address)
    reply = line.getresponse()
    size = len(reply.read())
    assert reply.status == 200, (reply.status, address)
    return size


def addresses(atlas: Atlas, chance: random.Random) -> dict[str, Callable[[], str]]:
    """What clients ask, with different features and words each time."""
    saes, words = atlas.saes(), atlas.vocab(atlas.models()[0].id)
    heads = atlas.models()[0].n_heads

    def word(common: int) -> str:
        return quote(words[chance.randrange(1, common)].strip())

    def feature() -> str:
        sae = chance.choice(saes)
        return f"{sae.id}/{chance.randrange(sae.d_sae)}"

    def head() -> str:
        sae = chance.choice(saes).id
        return f"{sae.model}/L{sae.layer}H{chance.randrange(heads)}"

    return {
        "models": lambda: "/models",
        "feature page": lambda: f"/features/{feature()}",
        "search: a word": lambda: f"/search?text={word(300)}",
        "search: a word, layer, by density": lambda: (
            f"/search?text={word(300)}&layer={chance.choice(saes).id.layer}&sort=density"
        ),
        "list: everything": lambda: "/search",
        "head page": lambda: f"/heads/{head()}",
        "compare two features": lambda: f"/compare?a={feature()}&b={feature()}",
        "sql: one SAE's densities": lambda: (
            "/sql?"
            + urlencode(
                {
                    "query": "SELECT avg(density) FROM feature WHERE sae = $sae",
                    "parameters": f'{{"sae": {chance.choice(saes).number}}}',
                }
            )
        ),
    }


if __name__ == "__main__":
    main()
