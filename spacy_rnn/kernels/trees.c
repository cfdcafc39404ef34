/* Maximum spanning trees (Chu & Liu 1965, Edmonds 1967) by Tarjan's algorithm for dense graphs (1977): time
 * and memory grow with the square of a sentence's length.
 *
 * Node 0 is the root, node i + 1 is token i. Nodes whose best arcs make a cycle are contracted to a new node.
 * Each node that has not been contracted has a slot. A new node takes the slot of one of its parts. */

#include "kernels.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    double score;
    int32_t head, token; /* The nodes that the arc joined before they were contracted */
} arc;

typedef struct {
    ptrdiff_t size;  /* Slots: the root and the tokens */
    arc *arcs;       /* The best arc from each slot (column) into each other slot (row) */
    int32_t *node;   /* The node in each slot */
    int32_t *active; /* The slots in use */
    ptrdiff_t n_active;
    int32_t *path;   /* Slots, each the head of the one before */
    char *state;     /* Whether each slot is new, on the path, joined to the root, or contracted */
    int32_t *parent; /* The node that each node was contracted to, or 0 */
    arc *best;       /* The chosen arc into each node */
    int32_t *member; /* The slots of a cycle */
} graph;

enum { NEW, ON_PATH, JOINED, CONTRACTED };

static int find_best_heads(const float *scores, ptrdiff_t n, int64_t *heads, char *seen) {
    ptrdiff_t n_roots = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const float *row = scores + i * (n + 1);
        ptrdiff_t best = 0;
        for (ptrdiff_t j = 0; j <= n; j++)
            if (j != i + 1 && row[j] > row[best]) best = j;
        heads[i] = best;
        n_roots += best == 0;
    }
    if (n_roots != 1) return 0;
    /* Follow the heads of each token to one that is known to reach the root. */
    memset(seen, 0, (size_t)n + 1);
    seen[0] = 2;
    for (ptrdiff_t i = 1; i <= n; i++) {
        ptrdiff_t j = i;
        while (seen[j] == 0) {
            seen[j] = 1;
            j = heads[j - 1];
        }
        if (seen[j] == 1) return 0;
        for (j = i; seen[j] == 1; j = heads[j - 1]) seen[j] = 2;
    }
    return 1;
}

/* An arc from the root costs more than all other arcs together, so a tree has only one. An arc that scores
 * minus infinity or NaN costs more than all finite arcs together. Scores are relative to the highest: huge
 * ones would lose the difference. */
static void fill(graph *g, const float *scores) {
    const ptrdiff_t n = g->size - 1;
    double low = DBL_MAX, high = -DBL_MAX;
    for (ptrdiff_t i = 0; i < n * (n + 1); i++) {
        if (!isfinite(scores[i])) continue;
        low = scores[i] < low ? scores[i] : low;
        high = scores[i] > high ? scores[i] : high;
    }
    if (low > high) low = high = 0.0;
    const double range = (high - low + 1.0) * (double)(n + 1);
    for (ptrdiff_t i = 1; i < g->size; i++) {
        for (ptrdiff_t j = 0; j < g->size; j++) {
            const double given = scores[(i - 1) * g->size + j];
            double score = isfinite(given) ? given - high : given > 0.0 ? range : -2.0 * range;
            if (j == 0) score -= 3.0 * range * (double)(n + 1);
            g->arcs[i * g->size + j] = (arc){score, (int32_t)j, (int32_t)i};
        }
    }
}

static int32_t find_best_head(const graph *g, int32_t slot) {
    const arc *row = g->arcs + slot * g->size;
    int32_t best = -1;
    for (ptrdiff_t i = 0; i < g->n_active; i++) {
        const int32_t other = g->active[i];
        if (other != slot && (best < 0 || row[other].score > row[best].score)) best = other;
    }
    g->best[g->node[slot]] = row[best];
    return best;
}

/* Contract the slots at the path's end, from `first` on, to that one. Returns the path's new length. */
static ptrdiff_t contract(graph *g, ptrdiff_t length, int32_t first, int32_t new_node) {
    ptrdiff_t n = 0, kept = 0;
    do {
        g->member[n++] = g->path[--length];
        g->state[g->path[length]] = CONTRACTED;
    } while (g->path[length] != first);
    g->state[first] = ON_PATH;
    for (ptrdiff_t i = 0; i < g->n_active; i++)
        if (g->state[g->active[i]] != CONTRACTED) g->active[kept++] = g->active[i];
    g->n_active = kept;
    /* An arc into the cycle replaces the one that was chosen for its end. */
    for (ptrdiff_t k = 0; k < n; k++) {
        const int32_t slot = g->member[k];
        const double chosen = g->best[g->node[slot]].score;
        g->parent[g->node[slot]] = new_node;
        for (ptrdiff_t i = 0; i < kept; i++) g->arcs[slot * g->size + g->active[i]].score -= chosen;
    }
    for (ptrdiff_t k = 0; k < n; k++) {
        const int32_t slot = g->member[k];
        if (slot == first) continue;
        for (ptrdiff_t i = 0; i < kept; i++) {
            const int32_t other = g->active[i];
            if (other == first) continue;
            arc *into = g->arcs + first * g->size + other, *from = g->arcs + other * g->size + first;
            const arc *new_into = g->arcs + slot * g->size + other;
            const arc *new_from = g->arcs + other * g->size + slot;
            if (new_into->score > into->score) *into = *new_into;
            if (other != 0 && new_from->score > from->score) *from = *new_from;
        }
    }
    g->node[first] = new_node;
    g->path[length++] = first;
    return length;
}

static void find_tree(graph *g, int64_t *heads) {
    int32_t n_nodes = (int32_t)g->size;
    g->n_active = g->size;
    for (int32_t i = 0; i < g->size; i++) {
        g->node[i] = g->active[i] = i;
        g->state[i] = NEW;
    }
    memset(g->parent, 0, 2 * (size_t)g->size * sizeof(int32_t));
    g->state[0] = JOINED;
    for (int32_t start = 1; start < g->size; start++) {
        if (g->state[start] != NEW) continue;
        ptrdiff_t length = 0;
        for (int32_t slot = start; g->state[slot] != JOINED;) {
            if (g->state[slot] == ON_PATH) {
                length = contract(g, length, slot, n_nodes++);
            } else {
                g->state[slot] = ON_PATH;
                g->path[length++] = slot;
            }
            slot = find_best_head(g, g->path[length - 1]);
        }
        while (length > 0) g->state[g->path[--length]] = JOINED;
    }
    /* The arc into a contracted node goes into one of its nodes; the others keep theirs. */
    for (int32_t node = n_nodes - 1; node >= g->size; node--) {
        int32_t part = g->best[node].token;
        while (g->parent[part] != node) part = g->parent[part];
        g->best[part] = g->best[node];
    }
    for (ptrdiff_t i = 1; i < g->size; i++) heads[i - 1] = g->best[i].head;
}

int rnn_find_trees(const float *scores, ptrdiff_t n, const int64_t *lengths, int64_t *heads) {
    ptrdiff_t longest = 0;
    for (ptrdiff_t i = 0; i < n; i++) longest = lengths[i] > longest ? lengths[i] : longest;
    const size_t size = (size_t)longest + 1;
    graph g = {0};
    char *seen = malloc(size);
    int is_there = seen != NULL;
    for (ptrdiff_t i = 0; is_there && i < n; i++) {
        const ptrdiff_t length = lengths[i];
        if (!find_best_heads(scores, length, heads, seen)) {
            if (g.arcs == NULL) {
                g.arcs = malloc(size * size * sizeof(arc));
                g.best = malloc(2 * size * sizeof(arc));
                g.node = malloc(6 * size * sizeof(int32_t));
                g.state = malloc(size);
                is_there = g.arcs != NULL && g.best != NULL && g.node != NULL && g.state != NULL;
                if (!is_there) break;
                g.active = g.node + size;
                g.path = g.active + size;
                g.member = g.path + size;
                g.parent = g.member + size;
            }
            g.size = length + 1;
            fill(&g, scores);
            find_tree(&g, heads);
        }
        scores += length * (length + 1);
        heads += length;
    }
    free(seen);
    free(g.arcs);
    free(g.best);
    free(g.node);
    free(g.state);
    return is_there ? 0 : -1;
}
