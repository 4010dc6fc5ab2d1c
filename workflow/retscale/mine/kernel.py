"""The compiled search behind `bm25.Index`: the best passages of many queries from their words' lists.

Passages are scored in blocks whose sums stay in a core's L2 cache. A word that, with all weaker ones, cannot lift a
passage above the worst result so far adds no candidate by itself (MaxScore; Turtle and Flood 1995): where its list is
long it is not traversed, only looked up for the candidates that the stronger words leave.
"""

import numba
import numpy as np

LOW_BITS = 2**32 - 1
SMALLEST = np.finfo(np.float32).tiny
LOOKUP = 32  # looking up one passage in a list costs about as much as traversing this many
FIRST = 512  # passages of the first block; blocks double in size, so that there soon is a score to beat
STRIDE = 256  # sums that are compared at a time


@numba.njit(nogil=True)
def search(
    starts, passages, gains, count, query_starts, words, weights, bounds, excluded_starts, excluded, block, best
):
    """Fill `best` (queries, k) int64 with the keys of each query's best passages, in no order.

    A key holds the bits of the score (float32, above 0) over those of ~passage, so that keys order by score, then by
    lower passage. `best` comes filled with 0 and keeps it where no further passage scores above 0.

    starts, passages, gains: each word's list, sorted by passage; count: number of passages. Of query q the slice
    query_starts[q]:query_starts[q + 1] holds `words`, their `weights` and `bounds` (the most that one adds to a score);
    its passages excluded[excluded_starts[q]:excluded_starts[q + 1]], sorted, are never found. Scores are summed in the
    order of the query's words, so neither the block nor what is skipped changes a bit of them.
    """
    sums = np.zeros(block, np.float32)
    candidates = np.empty(block, np.int32)
    totals = np.empty(block, np.float32)
    bits = totals.view(np.int32)
    worst = np.zeros(1, np.float32)
    for q in range(len(best)):
        heap = best[q]  # its root is the worst of the `size` best so far
        first, n = query_starts[q], query_starts[q + 1] - query_starts[q]
        begin = np.empty(n, np.int64)
        end = starts[words[first : first + n]]
        rest_bound = np.zeros(n + 1)  # the most that words i and later can add
        for i in range(n - 1, -1, -1):
            rest_bound[i] = rest_bound[i + 1] + bounds[first + i]
        slack = 1 - (n + 2) * 2.0**-22  # by that share a float32 sum may exceed the exact one
        size, threshold = 0, 0.0  # `threshold`: what a further passage must reach
        next_excluded = excluded_starts[q]
        low = high = 0
        while high < count:
            low, high = high, min(high + min(max(high, FIRST), block), count)
            for i in range(n):
                begin[i] = end[i]
                end[i] = _lower(passages, begin[i], starts[words[first + i] + 1], high)
            sizes = end - begin
            remaining, postings, traversed = sizes.sum(), 0, 0
            while traversed < n and not (rest_bound[traversed] < threshold and remaining > LOOKUP * postings):
                remaining, postings, traversed = (
                    remaining - sizes[traversed],
                    postings + sizes[traversed],
                    traversed + 1,
                )
            for i in range(traversed):
                weight = weights[first + i]
                for p in range(begin[i], end[i]):
                    sums[np.uint32(passages[p] - low)] += weight * gains[p]
            while next_excluded < excluded_starts[q + 1] and excluded[next_excluded] < high:
                sums[excluded[next_excluded] - low] = 0
                next_excluded += 1
            needed = max(np.float32(threshold - rest_bound[traversed]), SMALLEST)
            n_candidates = 0
            if postings < high - low:
                for i in range(traversed):
                    n_candidates = _visit(
                        passages[begin[i] : end[i]], low, needed, sums, candidates, totals, n_candidates
                    )
            else:
                n_candidates = _scan(needed, sums[: high - low], candidates, totals)
            for r in range(n_candidates):
                passage, total = low + candidates[r], totals[r]
                for i in range(traversed, n):
                    if total + rest_bound[i] < threshold:
                        total = np.float32(0)
                        break
                    p = _lower(passages, begin[i], end[i], passage)
                    if p < end[i] and passages[p] == passage:
                        total += weights[first + i] * gains[p]
                totals[r] = total
                key = (np.int64(bits[r]) << 32) | (LOW_BITS - passage)
                if total > 0 and size < len(heap):
                    _push(heap, size, key)
                    size += 1
                elif key > heap[0]:
                    _replace(heap, key)
                else:
                    continue
                if size == len(heap):
                    worst.view(np.int32)[0] = heap[0] >> 32
                    threshold = worst[0] * slack


@numba.njit(nogil=True)
def _visit(passages, low, needed, sums, candidates, totals, n):
    """Move the sums of a word's passages to `candidates` and `totals` where they reach `needed`, and clear them;
    returns the number of candidates."""
    for passage in passages:
        j = np.uint32(passage - low)
        if sums[j] >= needed:
            candidates[n], totals[n] = j, sums[j]
            n += 1
        sums[j] = 0
    return n


@numba.njit(nogil=True)
def _scan(needed, sums, candidates, totals):
    """The same for all sums of a block."""
    needed_bits = np.array([needed], np.float32).view(np.int32)[0]
    n = 0
    for first in range(0, len(sums), STRIDE):
        chunk = sums[first : first + STRIDE]
        bits = chunk.view(np.int32)  # floats from 0 on compare as integers do, and those many at a time
        greatest = np.int32(0)
        for j in range(len(bits)):
            greatest = max(greatest, bits[j])
        if greatest >= needed_bits:
            for j in range(len(bits)):
                if bits[j] >= needed_bits:
                    candidates[n], totals[n] = first + j, chunk[j]
                    n += 1
        if greatest:
            chunk[:] = 0
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
def _push(heap, size, key):
    """Add a key to a heap of `size` keys, the least at its root."""
    child = size
    while child:
        parent = (child - 1) // 2
        if heap[parent] <= key:
            break
        heap[child] = heap[parent]
        child = parent
    heap[child] = key


@numba.njit(nogil=True)
def _replace(heap, key):
    """Put a key in place of the root of a full heap."""
    parent, child = 0, 1
    while child < len(heap):
        if child + 1 < len(heap):
            child += heap[child + 1] < heap[child]
        if heap[child] >= key:
            break
        heap[parent] = heap[child]
        parent, child = child, 2 * child + 1
    heap[parent] = key
