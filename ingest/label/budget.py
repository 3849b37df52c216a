"""What a run has spent and may still spend, in tokens and in money."""

from ingest.label.settings import Budget


class Spent(Exception):
    """The budget does not allow another call. Nothing is wrong: the run ends here."""


class Purse:
    """Spending of a run, all its tries together; a call is reserved before it is sent."""

    def __init__(self, budget: Budget, tokens_in: int = 0, tokens_out: int = 0) -> None:
        self._budget = budget
        self.tokens_in, self.tokens_out = tokens_in, tokens_out
        self._held_in = self._held_out = 0

    @property
    def usd(self) -> float | None:
        """Dollars spent; None where no price is known."""
        return self._price(self.tokens_in, self.tokens_out)

    def _price(self, tokens_in: int, tokens_out: int) -> float | None:
        one, two = self._budget.price_in, self._budget.price_out
        return None if one is None or two is None else (tokens_in * one + tokens_out * two) / 1e6

    def hold(self, tokens_in: int, tokens_out: int) -> None:
        """Set aside what a call will take at most. Raises Spent when there is not so much left."""
        will_in = self.tokens_in + self._held_in + tokens_in
        will_out = self.tokens_out + self._held_out + tokens_out
        limit, usd = self._budget.tokens, self._price(will_in, will_out)
        if limit is not None and will_in + will_out > limit:
            raise Spent(f"the budget of {limit:,} tokens is spent")
        if self._budget.usd is not None and usd is not None and usd > self._budget.usd:
            raise Spent(f"the budget of ${self._budget.usd:,.2f} is spent")
        self._held_in += tokens_in
        self._held_out += tokens_out

    def settle(self, held_in: int, held_out: int, tokens_in: int, tokens_out: int) -> None:
        """Book what a call took in place of what was set aside for it; (0, 0) when it failed."""
        self._held_in -= held_in
        self._held_out -= held_out
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out

    def told(self) -> str:
        """What was spent, in words."""
        tokens = f"{self.tokens_in + self.tokens_out:,} tokens"
        return tokens if self.usd is None else f"{tokens}, ${self.usd:,.4f}"
