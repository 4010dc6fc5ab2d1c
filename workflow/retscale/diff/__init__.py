"""`retscale diff`: which scores of two studies differ, and what differs first on the way to them."""

TOLERANCE = 1e-4  # how far the same score of two studies may be apart, in units of its metric: more than rounding does
