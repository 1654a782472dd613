"""How complete learning is, in time: how often news is still to be expected, and how much longer to learn.

Good and Turing's idea over time. What was met in one stretch of :data:`ONE_EVENT` only, be it in many
messages, is a thing seen once. With Q1 such things among S after t seconds of learning, new things are to be
expected at the rate

    r(t) = (Q1 + 1) / t

(I. J. Good 1953 with time in place of the sample; the 1 keeps a short capture without any such thing from
calling itself complete). Discoveries follow Heaps' law, S(t) ~ t^b, in which the share of things seen once
tends to the exponent, b = Q1 / S (J. Pitman 2006, Combinatorial stochastic processes); so the rate falls as
r(T) = r(t) (t / T)^(1 - b), and it falls to a wanted rate w at

    T = t (r(t) / w)^(1 / (1 - b))

Things are kinds of message (conversation, role, kind, cause) and objects; of objects no times are kept, there
a thing seen once is one that was named in one message. Nobody should believe an extrapolation beyond
:data:`FAR` times what was learned: then it only says "more than".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from detectors.baseline import Baseline

ONE_EVENT: Final = 60.0
FAR: Final = 3.0
MOST: Final = 0.9
"""Largest exponent: where nearly everything was seen once, nothing can be said about the end."""

DAY: Final = 86_400.0
HOUR: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Completeness:
    """The estimate; times in seconds of capture time.

    Attributes
    ----------
    things, once : int
        Kinds and objects known, and how many of them were seen once.
    news_per_day : float
        New things to be expected in a day like those learned.
    wanted_per_day : float
    more_s : float
        How much longer to learn until news is as rare as wanted; 0 when it is.
    trusted : bool
        False: at least ``more_s``, and how much more cannot be told from so short a time.
    """

    learned_s: float
    things: int
    once: int
    news_per_day: float
    wanted_per_day: float
    more_s: float
    trusted: bool

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """Advice in one sentence."""
        known = f"{self.once} of {self.things} kinds and objects were seen once"
        number = f"{self.news_per_day:,.0f}" if self.news_per_day >= 10 else f"{self.news_per_day:.2g}"
        rate = f"about {number} new ones a day are to be expected"
        if self.more_s <= 0:
            return f"{known}; {rate}: complete enough for {self.wanted_per_day:g} a day"
        hours = self.more_s / HOUR
        amount = f"{hours:.0f} more hours" if hours >= 1 else f"{60 * hours:.0f} more minutes"
        about = f"about {amount}" if self.trusted else f"more than {amount} (a working day is a beginning)"
        wanted = f"until news is rarer than {self.wanted_per_day:g} a day"
        return f"{known}; {rate}: learn {about} {wanted}"


def completeness(baseline: Baseline, wanted_per_day: float | None = None) -> Completeness | None:
    """Estimate for a baseline, merged ones too; None when nothing was learned.

    Parameters
    ----------
    baseline : Baseline
    wanted_per_day : float, optional
        By default the site's budget of false alarms: news that is normal is one.
    """
    learned_s = float(baseline.params.get("learned_s", 0.0))
    kinds, points = baseline.tables["kinds"], baseline.tables["points"]
    things = len(kinds) + len(points)
    if learned_s <= 0 or not things:
        return None
    wanted = wanted_per_day or float(baseline.params.get("false_alarms_per_day", 1.0))
    once = int(np.count_nonzero(kinds["last"] - kinds["first"] <= ONE_EVENT))
    once += int(np.count_nonzero(points["count"] == 1))
    news = (once + 1) / learned_s * DAY
    exponent = min(once / things, MOST)
    more = learned_s * ((news / wanted) ** (1 / (1 - exponent)) - 1) if news > wanted else 0.0
    farthest = (FAR - 1) * learned_s
    return Completeness(learned_s, things, once, news, wanted, min(more, farthest), more <= farthest)
