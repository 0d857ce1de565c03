"""Paper on a feed: a runner on a simulated account, bar by bar as a real terminal shows them.

A bar is decided when it closes while somebody looks, for only then does its order fill at an open
that has just been. Bars that closed while nobody looked are lived through with what was held:
stops, swaps and marks, no decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mtquant.brokers.feed import BarFeed
from mtquant.brokers.terminal.growing import GrowingTerminal
from mtquant.errors import BrokerUnavailable, DataError
from mtquant.live.kill_switch import KillSwitch
from mtquant.live.paper_account import PaperAccount
from mtquant.live.report import BarReport
from mtquant.live.runner import Runner
from mtquant.live.window import sane
from mtquant.market.bars import Bars


class FeedPaper:
    """One strategy on one simulated account."""

    def __init__(
        self,
        feed: BarFeed,
        account: PaperAccount,
        start: Callable[[GrowingTerminal], Runner],
        kept: int,
        tell: Callable[[str], None],
    ) -> None:
        """Begin, or go on.

        Args:
            feed: Of the bars.
            account: Begun or not.
            start: Makes the runner once there is a terminal.
            kept: Closed bars of each symbol that an account is begun with.
            tell: Hears of bars that were not decided.
        """
        self._feed, self._account, self._start, self._kept = feed, account, start, kept
        self._tell = tell
        self._runner = start(account.terminal) if account.begun else None
        self._known: tuple[int, ...] = ()
        self._now_ns = 0
        self._due = False

    @property
    def switch(self) -> KillSwitch | None:
        """Its runner's; None before the account is begun."""
        return self._runner.switch if self._runner is not None else None

    def look(self) -> None:
        """Take what the feed has.

        Raises:
            BrokerUnavailable: The feed did not answer; try again.
        """
        self._due = self._took_fresh()

    def act(self) -> BarReport | None:
        """Decide the bar that has just closed; None where none has.

        Raises:
            BrokerUnavailable: The feed did not answer; try again.
            RiskHalt: What only a person can settle.
        """
        due, self._due = self._due, False
        return self._decide() if due else None

    def unanswered(self) -> None:
        """A simulated account loses nothing by a feed that is away."""

    def _took_fresh(self) -> bool:
        """Whether the newest bar that the feed has closed just now."""
        if self._runner is None:
            return self._begins()
        terminal = self._account.terminal
        news = self._feed.look(terminal.known_ns, terminal.now_ns())
        if not news.openings:
            return False
        for opening in news.openings:
            _sound(opening.bars)
            self._account.take(opening)
        missed = len(news.openings) - news.fresh
        if missed:
            self._tell(f"{missed} bars closed unseen: marked, not decided")
        return bool(news.fresh)

    def _begins(self) -> bool:
        """Open the account at the first close that is seen."""
        if self._known:
            news = self._feed.look(self._known, self._now_ns)
            if not news.openings:
                return False
            if not news.fresh:
                newest = news.openings[-1]
                self._known = tuple(int(bars.time[-1]) for bars in newest.bars)
                self._now_ns = newest.now_ns
                return False
            self._account.begin(_sound(self._feed.history(self._kept)))
            self._runner = self._start(self._account.terminal)
            return True
        bars = self._feed.history(self._kept)
        self._known = tuple(int(one.time[-1]) for one in bars)
        self._now_ns = max(self._known[: self._feed.traded])
        return False

    def _decide(self) -> BarReport | None:
        assert self._runner is not None, "there is a terminal"
        report = self._runner.on_bar()
        if report is not None:
            reasons = [int(one.reason_code) for one in report.outlook.decisions]
            self._account.decided(reasons, report.outlook.record.level)
        return report


def _sound(bars: Sequence[Bars]) -> Sequence[Bars]:
    """Bars whose prices can be prices; what has another is asked for again."""
    try:
        return [sane(one) for one in bars]
    except DataError as problem:
        raise BrokerUnavailable(str(problem)) from None
