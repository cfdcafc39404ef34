"""Maximum spanning trees with one token below the root, by numpy."""

import numpy as np


def find_trees(scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Find the maximum spanning tree of each sentence that has one token below the root.

    scores (ndarray): The scores of arcs, sentence after sentence: of each token (row) for the root
        and for each token as its head. float32, (sum of n * (n + 1),)
    lengths (ndarray): The number of tokens of each sentence. (sentences,)
    RETURNS (ndarray): The head of each token: 0 for the root, i + 1 for token i of the sentence.
        Any scores give trees. (sum of n,)
    """
    heads, start = [np.zeros(0, dtype=np.int64)], 0
    for n in lengths.tolist():
        heads.append(find_tree(scores[start : start + n * (n + 1)].reshape(n, n + 1)))
        start += n * (n + 1)
    return np.concatenate(heads)


def find_tree(scores: np.ndarray) -> np.ndarray:
    """Find one sentence's tree.

    scores (ndarray): The scores of arcs. (n, n + 1)
    RETURNS (ndarray): The head of each token. (n,)
    """
    n = len(scores)
    is_finite = np.isfinite(scores)
    finite = scores[is_finite].astype(np.float64)
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    spread = (high - low + 1) * (n + 1)
    arcs = np.full((n + 1, n + 1), -np.inf)
    with np.errstate(invalid="ignore"):
        replaced = np.where(scores > 0, spread, -2 * spread)
    arcs[1:] = np.where(is_finite, scores - high, replaced)
    np.fill_diagonal(arcs, -np.inf)
    best = arcs.argmax(axis=1)
    if (best[1:] == 0).sum() == 1 and _find_cycle(best) is None:
        return best[1:]
    # The root is the head of as few tokens as can be: of one.
    arcs[1:, 0] -= 3 * spread * (n + 1)
    return _find_heads(arcs)[1:]


def _find_heads(arcs: np.ndarray) -> np.ndarray:
    """RETURNS (ndarray): Each node's head (Chu & Liu 1965, Edmonds 1967). The root's is 0."""
    heads = arcs.argmax(axis=1)
    heads[0] = 0
    cycle = _find_cycle(heads)
    if cycle is None:
        return heads
    # Its nodes become one, the last. An arc into that one replaces the arc of the node it goes to.
    rest = np.setdiff1d(np.arange(len(arcs)), cycle)
    into = arcs[np.ix_(cycle, rest)] - arcs[cycle, heads[cycle]][:, None]
    out = arcs[np.ix_(rest, cycle)]
    contracted = np.full((len(rest) + 1, len(rest) + 1), -np.inf)
    contracted[:-1, :-1] = arcs[np.ix_(rest, rest)]
    contracted[-1, :-1] = into.max(axis=0)
    contracted[:-1, -1] = out.max(axis=1)
    found = _find_heads(contracted)
    best_out = cycle[out.argmax(axis=1)]
    heads[rest] = np.where(found[:-1] == len(rest), best_out, np.append(rest, 0)[found[:-1]])
    entry = found[-1]
    heads[cycle[into[:, entry].argmax()]] = rest[entry]
    return heads


def _find_cycle(heads: np.ndarray) -> np.ndarray | None:
    state = np.zeros(len(heads), dtype=int)
    state[0] = -1
    for start in range(1, len(heads)):
        node = start
        while state[node] == 0:
            state[node] = start
            node = heads[node]
        if state[node] == start:
            cycle = [node]
            while heads[cycle[-1]] != node:
                cycle.append(heads[cycle[-1]])
            return np.array(cycle)
        state[state == start] = -1
    return None
