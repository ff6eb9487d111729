"""The 95 % score interval of a share (Wilson, 1927), which holds for few rows and for shares near 0
and 1.
"""

from __future__ import annotations

from math import sqrt

Z_975 = 1.959963984540054
"""The normal distribution's 97.5 % point."""


def wilson(num_hits: float, num: float) -> tuple[float, float]:
    """Of ``num_hits`` in ``num``; of none in none, anything may be. A row may be a hit in part:
    that varies less than a whole one, so that the interval is then rather too wide.
    """
    if num == 0:
        return 0.0, 1.0
    share, z2_n = min(1.0, num_hits / num), Z_975**2 / num
    middle = (share + z2_n / 2) / (1 + z2_n)
    reach = sqrt(z2_n * (share * (1 - share) + z2_n / 4)) / (1 + z2_n)
    low = 0.0 if num_hits == 0 else max(0.0, middle - reach)
    high = 1.0 if num_hits == num else min(1.0, middle + reach)
    return low, high
