"""The client against a real server that misbehaves: what passes is waited out, what does not is
said, and nothing is paid for twice."""

import asyncio
import json
import time

import pytest

from atlas.errors import ConfigError, LabelError
from ingest.label.budget import Purse, Spent
from ingest.label.client import Client, Failed
from ingest.label.count import SAFETY, TokenCounter
from ingest.label.journal import FILE, Journal
from ingest.label.manner import Ask
from ingest.label.replies import Explanation, Verdict, read, schema_of
from ingest.label.settings import Budget, Endpoint, make_settings
from ingest.label.waiting import exhausted_for, seconds_of, told_wait

EXPLAIN = Ask(
    (("user", 'EXAMPLES, such as "an example of a title"\n1. a «the»'),),
    100,
    schema_of(Explanation),
)
KEY = "sk-secret"


class Asking:
    """One journal and one client, as a run has them."""

    def __init__(self, endpoint, folder, budget=None, key=KEY, **changes):
        self.settings = Endpoint(url=endpoint.url, model="m", **({"tries": 3} | changes))
        self.folder, self.budget, self.key = folder, budget or Budget(), key

    def __call__(self, *steps, salt=""):
        """Results of coroutine functions of a client, errors among them, one after the other."""
        return asyncio.run(self._run(steps, salt))

    async def _run(self, steps, salt):
        journal = Journal(self.folder)
        self.purse = Purse(self.budget, journal.tokens_in, journal.tokens_out)
        counter = TokenCounter(["a", "the"])
        client = Client(self.settings, self.key, 0.0, journal, self.purse, counter, salt)
        found = []
        for step in steps:
            try:
                found.append(await step(client))
            except (Failed, Spent, LabelError) as error:
                found.append(error)
        await client.close()
        journal.close()
        return found


@pytest.fixture
def asking(endpoint, tmp_path):
    return Asking(endpoint, tmp_path)


def explain(client):
    return read(client, EXPLAIN, Explanation)


def number(n):
    return lambda client: client.ask(Ask((("user", f"EXAMPLES {n}"),), 50))


def test_an_answer_is_read_and_its_tokens_are_booked(asking):
    (found,) = asking(explain)
    assert found.title == "fires on “the”"
    assert asking.purse.tokens_out == 10


@pytest.mark.parametrize("behaviour", ["500", "half", "not json", "other json", "html", "429"])
def test_what_may_pass_is_tried_again(asking, endpoint, behaviour):
    endpoint.plan(behaviour)
    (found,) = asking(explain)
    assert isinstance(found, Explanation)
    assert endpoint.seen()["counts"]["chat"] == 2


@pytest.mark.parametrize(("behaviour", "least"), [("429", 0.3), ("429 reset", 0.4)])
def test_a_limit_is_waited_out_as_long_as_the_server_says(asking, endpoint, behaviour, least):
    endpoint.plan(behaviour)
    begun = time.monotonic()
    asking(explain)
    assert time.monotonic() - begun > least


def test_a_slow_answer_is_given_up_and_asked_again(endpoint, tmp_path):
    endpoint.plan("slow")
    (found,) = Asking(endpoint, tmp_path, seconds=0.5)(explain)
    assert isinstance(found, Explanation)


def test_one_call_that_never_succeeds_fails_alone(asking, endpoint):
    endpoint.plan("well", "500", "500", "500", "well")
    first, second, third = asking(number(1), number(2), number(3))
    assert (first.refusal, third.refusal) == (None, None)
    assert isinstance(second, Failed)
    assert "no answer after 3 tries: 500" in str(second)


@pytest.mark.parametrize(
    ("plan", "match"),
    [
        (["401"], "refuses m: 401"),
        (["404"], "refuses m: 404"),
        (["quota"], "no quota left"),
        (["500"] * 3, "does not answer: 500"),
    ],
)
def test_an_endpoint_that_cannot_work_ends_the_run(asking, endpoint, plan, match):
    endpoint.plan(*plan)
    (found,) = asking(explain)
    assert isinstance(found, LabelError)
    assert match in str(found)
    assert KEY not in str(found)


def test_a_server_that_is_not_there_is_said(tmp_path, endpoint):
    asking = Asking(endpoint, tmp_path, tries=1)
    asking.settings = asking.settings.model_copy(update={"url": "http://127.0.0.1:9/v1"})
    (found,) = asking(explain)
    assert isinstance(found, LabelError)


def test_a_server_without_forms_is_asked_without(asking, endpoint):
    endpoint.plan("no format")
    (found,) = asking(explain)
    assert isinstance(found, Explanation)
    forms = [
        one["body"].get("response_format", {}).get("type") for one in endpoint.seen()["requests"]
    ]
    assert forms == ["json_schema", "json_object", None]


def test_a_model_that_takes_no_temperature_is_asked_its_own_way(asking, endpoint):
    endpoint.plan("reasons")
    found = asking(number(1), number(2))
    assert [one.text[:7] for one in found] == ['{"when"'] * 2
    last = endpoint.seen()["requests"][-1]["body"]
    assert last["max_completion_tokens"] == 50
    assert endpoint.seen()["counts"]["chat"] == 4  # what was learnt holds


@pytest.mark.parametrize("behaviour", ["wrong json", "extra", "empty", "parrot"])
def test_an_answer_that_cannot_be_read_is_repaired_once(asking, endpoint, behaviour):
    endpoint.plan(behaviour)
    (found,) = asking(explain)
    assert found.title == "fires on “the”"
    repair = endpoint.seen()["requests"][1]["body"]["messages"]
    assert [one["role"] for one in repair] == ["user", "assistant", "user"]
    assert "cannot be read" in repair[2]["content"]


def test_json_in_a_fence_is_json(asking, endpoint):
    endpoint.plan("fenced")
    assert asking(explain)[0].title == "fires on “the”"
    assert endpoint.seen()["counts"]["chat"] == 1


@pytest.mark.parametrize(
    ("plan", "match"),
    [
        (["wrong json", "wrong json"], "cannot be read"),
        (["refuse"], "refused: I cannot help"),
        (["cut"], "cut off"),
        (["400", "400", "400"], "400: "),
    ],
)
def test_what_gives_nothing_fails_and_is_asked_again_by_the_next_run(asking, endpoint, plan, match):
    endpoint.plan(*plan)
    (found,) = asking(explain)
    assert isinstance(found, Failed)
    assert match in str(found)
    assert isinstance(asking(explain)[0], Explanation)


def test_a_verdict_speaks_of_every_passage(asking):
    ask = Ask(
        (("user", "LABEL\n“the”\n\nPASSAGES\n1. a the\n2. a cat"),), 50, schema_of(Verdict, 2)
    )
    (found,) = asking(lambda client: read(client, ask, Verdict, 2))
    assert found.fires == (True, False)
    (wrong,) = asking(lambda client: read(client, ask, Verdict, 3))
    assert isinstance(wrong, Failed)
    assert "2 entries for 3 passages" in str(wrong)


def test_a_finished_call_is_not_sent_again(asking, endpoint):
    asking(number(1), number(2))
    endpoint.plan()
    found = asking(number(1), number(2), number(3))
    assert endpoint.seen()["counts"]["chat"] == 1
    assert len(found) == 3
    asking(number(1), salt="again")
    assert endpoint.seen()["counts"]["chat"] == 2


def test_a_journal_that_a_crash_cut_short_loses_its_last_line_alone(asking, endpoint):
    asking(number(1), number(2))
    path = asking.folder / FILE
    path.write_bytes(path.read_bytes()[:-20])
    endpoint.plan()
    asking(number(1), number(2))
    assert endpoint.seen()["counts"]["chat"] == 1
    assert [json.loads(line)["reply"]["tokens_out"] for line in path.read_text().splitlines()] == [
        10,
        10,
    ]


@pytest.mark.parametrize(
    "budget",
    [Budget(tokens=150), Budget(usd=0.00015, price_in=1.0, price_out=1.0)],
)
def test_a_budget_stops_before_the_call_that_could_break_it(endpoint, tmp_path, budget):
    asking = Asking(endpoint, tmp_path, budget)
    found = asking(*(number(n) for n in range(20)))
    spent = asking.purse.tokens_in + asking.purse.tokens_out
    assert isinstance(found[-1], Spent)
    assert "the budget of" in str(found[-1])
    assert 0 < spent <= 150
    assert isinstance(asking(number(99))[0], Spent)  # the run's, not one try's


def test_the_key_is_sent_and_is_in_no_file(asking, endpoint, tmp_path):
    asking(explain)
    assert endpoint.seen()["requests"][0]["key"] == f"Bearer {KEY}"
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(KEY in text for text in files)
    assert KEY not in repr(asking.settings)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1.5", 1.5), ("20ms", 0.02), ("6m0s", 360), ("1h2m", 3720), ("soon", None), ("", None)],
)
def test_reset_headers_are_durations(text, seconds):
    assert seconds_of(text) == seconds


def test_retry_after_comes_before_limits_and_only_an_empty_limit_counts():
    limits = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "7s"}
    assert told_wait(limits | {"retry-after": "2"}) == 2
    assert told_wait(limits) == 7
    assert exhausted_for({**limits, "x-ratelimit-remaining-tokens": "5"}) is None


def test_tokens_are_counted_longest_first_and_on_the_high_side():
    counter = TokenCounter(["the", " cat", " c", "at"])
    assert counter.count("the cat") == 2
    assert counter.count("the cut") == 4  # the, " c", u, t
    assert counter.messages([("user", "the cat")]) == round((2 + 8) * SAFETY)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"url": "http://h/v1"}, "belong together"),
        ({"url": "http://u:p@h/v1", "model": "m"}, "carries a secret"),
        ({"choice": {"scorers": ("guess",)}}, "scorers"),
        ({"choice": {"batch": 0}}, "batch.*not 0"),
        ({"budget": {"usd": 1.0}}, "needs prices"),
    ],
)
def test_wrong_settings_are_refused_by_name(given, match):
    blank = {"url": None, "model": None, "choice": {}, "budget": {}, "endpoint": {}}
    with pytest.raises(ConfigError, match=match):
        make_settings(**{**blank, **given}, environment={})
