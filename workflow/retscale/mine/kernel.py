"""The compiled search behind `bm25.Index`: the best passages of many queries from their words' lists.

Passages are taken in blocks whose sums stay in a core's second cache. A word that, with all weaker ones, cannot lift a
passage over the worst that was found brings in no passage by itself (MaxScore; Turtle and Flood 1995): where its list is
long it is not walked, only looked up for the passages that the stronger words leave in the race.
"""

import numba
import numpy as np

SMALLEST = np.finfo(np.float32).tiny
LOOKUP = 32  # looking a passage up in a list costs what walking over about so many does
FIRST = 512  # passages of the first block; blocks double, so that there soon is a score to beat
STRIDE = 256  # sums that are compared at a time


@numba.njit(nogil=True)
def search(
    starts, passages, gains, count, query_starts, words, weights, bounds, spared_starts, spared, block, found, scores
):
    """Fill `found` (queries, k) int32 and `scores` (queries, k) float32 with each query's best passages, best first.

    starts, passages, gains: each word's list, sorted by passage; count: number of passages. Of query q the slice
    query_starts[q]:query_starts[q + 1] holds `words`, their `weights` and `bounds` (the most that one adds to a score);
    its passages spared[spared_starts[q]:spared_starts[q + 1]], sorted, are never found. `found` comes filled with -1 and
    keeps it where no further passage scores above 0. Scores are summed in the order of the query's words, so neither
    the block nor what is skipped changes a bit of them.
    """
    sums = np.zeros(block, np.float32)
    racing = np.empty(block, np.int32)
    totals = np.empty(block, np.float32)
    for q in range(len(found)):
        first, n = query_starts[q], query_starts[q + 1] - query_starts[q]
        at = np.empty(n, np.int64)
        end = starts[words[first : first + n]]
        rest = np.zeros(n + 1)  # the most that words i and later can add
        for i in range(n - 1, -1, -1):
            rest[i] = rest[i + 1] + bounds[first + i]
        slack = 1 - (n + 2) * 2.0**-22  # by that share a float32 sum may exceed the exact one
        size, least = 0, 0.0  # passages found, and what a further one must reach
        next_spared = spared_starts[q]
        low = high = 0
        while high < count:
            low, high = high, min(high + min(max(high, FIRST), block), count)
            for i in range(n):
                at[i] = end[i]
                end[i] = _lower(passages, at[i], starts[words[first + i] + 1], high)
            sizes = end - at
            left, postings, walked = sizes.sum(), 0, 0
            while walked < n and not (rest[walked] < least and left > LOOKUP * postings):
                left, postings, walked = left - sizes[walked], postings + sizes[walked], walked + 1
            for i in range(walked):
                weight = weights[first + i]
                for p in range(at[i], end[i]):
                    sums[np.uint32(passages[p] - low)] += weight * gains[p]
            while next_spared < spared_starts[q + 1] and spared[next_spared] < high:
                sums[spared[next_spared] - low] = 0
                next_spared += 1
            enough = max(np.float32(least - rest[walked]), SMALLEST)
            n_racing = 0
            if postings < high - low:
                for i in range(walked):
                    n_racing = _visit(passages[at[i] : end[i]], low, enough, sums, racing, totals, n_racing)
            else:
                n_racing = _scan(enough, sums[: high - low], racing, totals)
            for r in range(n_racing):
                passage, total = low + racing[r], totals[r]
                for i in range(walked, n):
                    if total + rest[i] < least:
                        total = np.float32(0)
                        break
                    p = _lower(passages, at[i], end[i], passage)
                    if p < end[i] and passages[p] == passage:
                        total += weights[first + i] * gains[p]
                if total > 0:
                    size = _offer(found[q], scores[q], size, passage, total)
                    if size == found.shape[1]:
                        least = scores[q, 0] * slack
        _sort(found[q], scores[q], size)


@numba.njit(nogil=True)
def _visit(passages, low, enough, sums, racing, totals, n):
    """Move the sums of a word's passages to `racing` and `totals` where they are enough, and clear them; returns the
    number that race."""
    for passage in passages:
        j = np.uint32(passage - low)
        if sums[j] >= enough:
            racing[n], totals[n] = j, sums[j]
            n += 1
        sums[j] = 0
    return n


@numba.njit(nogil=True)
def _scan(enough, sums, racing, totals):
    """The same for all sums of a block."""
    least = np.array([enough], np.float32).view(np.int32)[0]
    n = 0
    for first in range(0, len(sums), STRIDE):
        some = sums[first : first + STRIDE]
        bits = some.view(np.int32)  # floats from 0 on compare as integers do, and those many at a time
        greatest = np.int32(0)
        for j in range(len(bits)):
            greatest = max(greatest, bits[j])
        if greatest >= least:
            for j in range(len(bits)):
                if bits[j] >= least:
                    racing[n], totals[n] = first + j, some[j]
                    n += 1
        if greatest:
            some[:] = 0
    return n


@numba.njit(nogil=True)
def _lower(values, first, last, value):
    """The first index in first:last whose value is not below `value`, or last; found by doubling steps."""
    step = 1
    while first + step < last and values[first + step] < value:
        first += step
        step *= 2
    last = min(last, first + step)
    while first < last:
        middle = (first + last) // 2
        if values[middle] < value:
            first = middle + 1
        else:
            last = middle
    return first


@numba.njit(nogil=True)
def _worse(score, passage, than_score, than_passage):
    """The total order: by score, then by lower passage."""
    return score < than_score or (score == than_score and passage > than_passage)


@numba.njit(nogil=True)
def _offer(passages, scores, size, passage, score):
    """Offer a passage to the heap, whose root is the worst of its `size` passages; returns the new size."""
    if size < len(passages):
        child = size
        while child:
            parent = (child - 1) // 2
            if not _worse(score, passage, scores[parent], passages[parent]):
                break
            scores[child], passages[child] = scores[parent], passages[parent]
            child = parent
        scores[child], passages[child] = score, passage
        return size + 1
    if _worse(scores[0], passages[0], score, passage):
        _sink(passages, scores, size, passage, score)
    return size


@numba.njit(nogil=True)
def _sink(passages, scores, size, passage, score):
    """Replace the root of a heap of `size` passages."""
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and _worse(scores[child + 1], passages[child + 1], scores[child], passages[child]):
            child += 1
        if not _worse(scores[child], passages[child], score, passage):
            break
        scores[parent], passages[parent] = scores[child], passages[child]
        parent = child
    scores[parent], passages[parent] = score, passage


@numba.njit(nogil=True)
def _sort(passages, scores, size):
    """A heap into a list, best first."""
    for last in range(size - 1, 0, -1):
        score, passage = scores[last], passages[last]
        scores[last], passages[last] = scores[0], passages[0]
        _sink(passages, scores, last, passage, score)
