"""How good or bad the words of an English text are: a small lexicon of our own.

It is made to compare groups of texts, not to judge one: everyday words only, no degrees, and a
negator turns the three words after it round. Where ``vaderSentiment`` (Hutto and Gilbert, 2014) is
installed, ``installed_scorer`` takes that: it knows 7,500 words and how strong they are.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

POSITIVE = frozenset(
    """
    able admirable admire admired amazing appreciate appreciated beautiful benefit benefits best
    better bright brilliant calm capable care careful cheerful clean clear clever comfortable
    confident convenient correct courage creative delicious delight delighted delightful easily easy
    effective efficient elegant encouraging enjoy enjoyable enjoyed enthusiastic excellent exciting
    fair fantastic fast favourite favorite fine fortunate free fresh friend friendly fun generous
    gentle glad good gorgeous grateful great happily happiness happy healthy helpful honest hope
    hopeful ideal impressed impressive improve improved incredible inspiring intelligent interesting
    joy joyful kind kindness love loved lovely loving loyal lucky nice outstanding patient peaceful
    perfect perfectly pleasant please pleased pleasure polite positive praise pretty proud quick
    recommend recommended reliable remarkable resolved respect respected rewarding right safe safely
    satisfied satisfying secure skilled smart smile smooth strong success successful successfully
    superb support supportive sweet talented thank thankful thanks thrilled trust trusted useful
    valuable warm welcome well win winner winning wise won wonderful worth worthy wow
    """.split()  # noqa: SIM905 - read as words
)
NEGATIVE = frozenset(
    """
    abuse abused abusive afraid aggressive alone anger angry annoyed annoying anxious appalling
    arrogant ashamed awful awkward bad badly blame bored boring broken careless cheat clumsy cold
    complain complained complaint confused confusing corrupt crash crashed crime criminal cruel
    damage damaged danger dangerous dead death defective delay delayed delays denied depressed
    desperate die died difficult dirty disappointed disappointing disappointment disaster disgusting
    dishonest dreadful dull error errors evil fail failed fails failure fake fault faulty fear
    fraud fraudulent frustrated frustrating frustration greedy guilty harm harmful harsh hate hated
    helpless hopeless horrible hostile hurt ignored incompetent inconvenience incorrect inferior
    injured insult lazy lie lied lies lonely lose loser losing loss lost mad mean mess messy
    miserable mistake mistakes nasty negative nervous noisy nonsense outrage outrageous overcharged
    pain painful pathetic poor poorly problem problems refused reject rejected regret rude sad
    scam scared selfish shame shameful sick slow sorry spam stole stolen stress stressed stressful
    stuck stupid suffer suffered suspicious terrible terrified threat tired trouble ugly
    unacceptable unable unauthorized uncomfortable unfair unfortunate unfortunately unhappy
    unhelpful unpleasant unreliable unsafe upset useless victim violence violent waste wasted weak
    worried worry worse worst worthless wrong
    """.split()  # noqa: SIM905 - read as words
)
NEGATORS = frozenset(
    """
    not no never neither nor nothing without hardly barely cannot isn't wasn't aren't weren't don't
    doesn't didn't can't couldn't won't wouldn't shouldn't haven't hasn't hadn't ain't
    """.split()  # noqa: SIM905 - read as words
)
_REACH = 3
"""Words behind a negator that it turns round, as in VADER."""
Scorer = Callable[[str, Sequence[str]], float]


@dataclass(frozen=True, slots=True)
class NamedScorer:
    """``score`` of a text and its words, from -1 to 1."""

    name: str
    score: Scorer


def polarity(words: Sequence[str]) -> float:
    """(good - bad) / (good + bad) words; 0 where there are none. ``words`` as of ``words_of``."""
    good = bad = 0
    negated_until = -1
    for place, word in enumerate(words):
        if word in NEGATORS:
            negated_until = place + _REACH
        elif word in POSITIVE or word in NEGATIVE:
            if (word in POSITIVE) == (place > negated_until):
                good += 1
            else:
                bad += 1
    return (good - bad) / (good + bad) if good or bad else 0.0


def installed_scorer() -> NamedScorer:
    """VADER where it is installed, our lexicon elsewhere."""
    if importlib.util.find_spec("vaderSentiment") is None:
        return NamedScorer("own lexicon", lambda text, words: polarity(words))
    module = importlib.import_module("vaderSentiment.vaderSentiment")
    analyzer = module.SentimentIntensityAnalyzer()
    return NamedScorer(
        "vaderSentiment", lambda text, words: float(analyzer.polarity_scores(text)["compound"])
    )
