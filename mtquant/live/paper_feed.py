"""Paper on a feed: a runner on a simulated account, bar by bar as a real terminal shows them.

A bar is decided when it closes while somebody looks, for only then does its order fill at an open
that has just been. Bars that closed while nobody looked are lived through with what was held:
stops, swaps and marks, no decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mtquant.brokers.feed import BarFeed
from mtquant.brokers.terminal.growing import GrowingTerminal
from mtquant.errors import BrokerUnavailable, DataError, RiskHalt
from mtquant.live.kill_switch import Form
from mtquant.live.loop import Hands, Listener
from mtquant.live.paper_account import PaperAccount
from mtquant.live.runner import BarReport, Runner
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
    ) -> None:
        """Begin, or go on.

        Args:
            feed: Of the bars.
            account: Begun or not.
            start: Makes the runner once there is a terminal.
            kept: Closed bars of each symbol that an account is begun with.
        """
        self._feed, self._account, self._start, self._kept = feed, account, start, kept
        self._runner = start(account.terminal) if account.begun else None
        self._known: tuple[int, ...] = ()
        self._now_ns = 0

    def look(self) -> tuple[BarReport | None, int]:
        """Take what the feed has; the report where a bar was decided, and how many were not.

        Raises:
            BrokerUnavailable: The feed did not answer; try again.
            RiskHalt: What only a person can settle.
        """
        if self._runner is None:
            return (self._decide() if self._begins() else None), 0
        terminal = self._account.terminal
        news = self._feed.look(terminal.known_ns, terminal.now_ns())
        if not news.openings:
            return None, 0
        for opening in news.openings:
            _sound(opening.bars)
            self._account.take(opening)
        if not news.fresh:
            return None, len(news.openings)
        return self._decide(), len(news.openings) - 1

    def reduce(self, reason: str) -> None:
        """Stop increases; a person arms them again."""
        if self._runner is not None:
            self._runner.switch.kill(Form.REDUCE, reason)

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


def keep_feeding(paper: FeedPaper, hands: Hands, listener: Listener, every: float) -> None:
    """Look for bars every so many seconds, until somebody ends it.

    Args:
        paper: What is to be traded.
        hands: What the loop does to the world.
        listener: Hears of bars and troubles.
        every: Seconds between two looks.

    Raises:
        RiskHalt: What only a person can settle.
    """
    connected = True
    while not hands.over():
        try:
            if not connected:
                hands.reconnect()
                connected = True
            _heed_clock(paper, hands, listener)
            report, missed = paper.look()
        except BrokerUnavailable as problem:
            connected = False
            listener.on_trouble(str(problem))
        else:
            if missed:
                listener.on_trouble(f"{missed} bars closed unseen: marked, not decided")
            if report is not None:
                listener.on_report(report)
        hands.sleep(every)


def _heed_clock(paper: FeedPaper, hands: Hands, listener: Listener) -> None:
    try:
        hands.check_clock()
    except RiskHalt as problem:
        paper.reduce(str(problem))
        listener.on_trouble(str(problem))
