// SPDX-License-Identifier: Apache-2.0
/*
 * As bsdiff: go on in `new` until the best match in `old` is clearly better than going on with the present displacement; then the present
 * piece is stretched forward, and the new one backward, as far as more than half of the bytes are the same, and what is
 * between them is new. Two short cuts: where the present displacement fits for a while, nothing is looked up; and the table of old
 * is made when it is first asked, which for what changed only here and there is never.
 */
#include "image/ship-patch.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

#define SEED 12
#define STEP 2          /* a seed at each second byte: matches of a byte more are found all the same */
#define AHEAD 16        /* seeds that are hashed before they are put into the table */
#define CANDIDATES 16   /* of one hash that are compared */
#define LOOK_AHEAD 64   /* bytes in which a displacement that was left may fit again, */
#define LOOK_AHEAD_FIT 40 /* so many of them */
#define LONG_MATCH 4096 /* good enough: nothing better is looked for */

struct ShipPatcher {
	uint32_t *heads; /* position + 1 of the last seed with a hash; 0 = none */
	size_t n_heads;
	uint32_t *links; /* position + 1 of the one before, by position */
	size_t n_links;
	const uint8_t *old;
	size_t m;
	bool ready;
	unsigned shift;
};

ShipPatcher *ship_patcher_new(void)
{
	return xcalloc(1, sizeof(ShipPatcher));
}

void ship_patcher_free(ShipPatcher *p)
{
	if (!p)
		return;
	free(p->heads);
	free(p->links);
	free(p);
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t n;
	memcpy(&n, p, sizeof(n));
	return n;
}

static uint32_t load32(const uint8_t *p)
{
	uint32_t n;
	memcpy(&n, p, sizeof(n));
	return n;
}

static size_t seed_hash(const ShipPatcher *p, const uint8_t *b)
{
	return (size_t) (((load64(b) * 0x9e3779b97f4a7c15ULL) ^ ((uint64_t) load32(b + 8) * 0xc2b2ae3d27d4eb4fULL)) * 0x165667b19e3779f9ULL >> p->shift);
}

/* A run of one byte gives one seed; else its chain would be all that is found. */
static bool is_run(const ShipPatcher *p, size_t i)
{
	return i && i + SEED < p->m && load64(p->old + i - 1) == load64(p->old + i) && load64(p->old + i + 4) == load64(p->old + i + 3);
}

/* The table is larger than the processor's caches: what the next few need of it is asked for before it is waited for. */
static void add_seeds(ShipPatcher *p, size_t at, size_t end)
{
	uint32_t *heads = p->heads, *links = p->links;
	size_t hashes[AHEAD], n = 0;
	for (size_t i = at; i < end && n < AHEAD; i += STEP) {
		hashes[n] = seed_hash(p, p->old + i);
		__builtin_prefetch(&heads[hashes[n++]], 1);
	}
	for (size_t k = 0; k < n; k++) {
		size_t i = at + k * STEP;
		bool run = is_run(p, i);
		links[i] = run ? 0 : heads[hashes[k]];
		if (!run)
			heads[hashes[k]] = (uint32_t) i + 1;
	}
}

static void make_table(ShipPatcher *p)
{
	unsigned bits = 12;
	while (bits < 20 && (1U << bits) < p->m)
		bits++;
	p->shift = 64 - bits;
	if (p->n_heads < (size_t) 1 << bits) {
		free(p->heads);
		p->n_heads = (size_t) 1 << bits;
		p->heads = xmalloc(p->n_heads * sizeof(*p->heads));
	}
	if (p->n_links < p->m) {
		free(p->links);
		p->n_links = p->m;
		p->links = xmalloc(p->n_links * sizeof(*p->links));
	}
	memset(p->heads, 0, ((size_t) 1 << bits) * sizeof(*p->heads));
	for (size_t i = 0, end = p->m < SEED ? 0 : p->m - SEED + 1; i < end; i += AHEAD * STEP)
		add_seeds(p, i, end);
	p->ready = true;
}

static size_t match_length(const uint8_t *a, const uint8_t *b, size_t n)
{
	size_t i = 0;
	while (i + 8 <= n) {
		uint64_t x = load64(a + i) ^ load64(b + i);
		if (x) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
			return i + (size_t) __builtin_ctzll(x) / 8;
#else
			return i + (size_t) __builtin_clzll(x) / 8;
#endif
		}
		i += 8;
	}
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

/* The longest match for new[at…]; its length, 0 if there is none of SEED bytes. */
static size_t find(ShipPatcher *p, const uint8_t *new, size_t n, size_t at, size_t *ret_pos)
{
	size_t best = 0;
	if (n - at < SEED || p->m < SEED)
		return 0;
	if (!p->ready)
		make_table(p);
	uint32_t next = p->heads[seed_hash(p, new + at)];
	for (int i = 0; next && i < CANDIDATES && best < LONG_MATCH; i++) {
		size_t pos = next - 1, max = n - at < p->m - pos ? n - at : p->m - pos;
		size_t len = match_length(new + at, p->old + pos, max);
		if (len > best) {
			best = len;
			*ret_pos = pos;
		}
		next = p->links[pos];
	}
	return best >= SEED ? best : 0;
}

/* The state of one patch: new[last…] goes with old[last_pos…] at present. */
typedef struct Patch {
	ShipPatcher *p;
	const uint8_t *new, *old;
	size_t n, m;
	size_t last, last_pos;
	const ShipPatchOps *ops;
} Patch;

/* How far the present piece reaches towards `end`. */
static size_t reach_forward(const Patch *x, size_t end)
{
	size_t best = 0, same = 0;
	int64_t best_score = 0;
	for (size_t i = 0; x->last + i < end && x->last_pos + i < x->m;) {
		same += x->new[x->last + i] == x->old[x->last_pos + i];
		i++;
		int64_t score = 2 * (int64_t) same - (int64_t) i;
		if (score > best_score) {
			best_score = score;
			best = i;
		}
	}
	return best;
}

/* How far the piece that begins with the match at `at` reaches back. */
static size_t reach_back(const Patch *x, size_t at, size_t pos)
{
	size_t best = 0, same = 0;
	int64_t best_score = 0;
	for (size_t i = 1; at >= x->last + i && pos >= i; i++) {
		same += x->new[at - i] == x->old[pos - i];
		int64_t score = 2 * (int64_t) same - (int64_t) i;
		if (score > best_score) {
			best_score = score;
			best = i;
		}
		if (score < best_score - 4096)
			break;
	}
	return best;
}

/* The two overlap by `overlap`: where to part them, so that most bytes are the same. */
static size_t part(const Patch *x, size_t forward, size_t at, size_t pos, size_t overlap)
{
	int64_t score = 0, best_score = 0;
	size_t best = 0;
	for (size_t i = 0; i < overlap; i++) {
		size_t f = forward - overlap + i;
		score += x->new[x->last + f] == x->old[x->last_pos + f];
		score -= x->new[at + i] == x->old[pos + i];
		if (score > best_score) {
			best_score = score;
			best = i + 1;
		}
	}
	return best;
}

/* Ends the present piece before the match of new[at] with old[pos], or at the end. */
static void settle(Patch *x, size_t at, size_t pos, bool end)
{
	size_t forward = reach_forward(x, at), back = end ? 0 : reach_back(x, at, pos);
	if (x->last + forward > at - back) {
		size_t overlap = x->last + forward - (at - back);
		size_t keep = part(x, forward, at - back, pos - back, overlap);
		forward -= overlap - keep;
		back -= keep;
	}
	if (forward)
		x->ops->add(x->ops->user, x->last, x->last_pos, forward);
	if (at - back > x->last + forward)
		x->ops->extra(x->ops->user, x->last + forward, at - back - (x->last + forward));
	x->last = at - back;
	x->last_pos = pos - back;
}

/* Old byte that goes with new[at] at present. */
static bool fits(const Patch *x, size_t at)
{
	size_t pos = at - x->last + x->last_pos;
	return pos < x->m && x->new[at] == x->old[pos];
}

/* Length of what fits from here on without a difference; whole windows with few of them count, too. */
static size_t fitting(const Patch *x, size_t at)
{
	size_t pos = at - x->last + x->last_pos;
	if (pos >= x->m)
		return 0;
	size_t max = x->n - at < x->m - pos ? x->n - at : x->m - pos, len = match_length(x->new + at, x->old + pos, max);
	if (len >= SEED || max - len < LOOK_AHEAD)
		return len;
	size_t same = 0;
	for (size_t i = 0; i < LOOK_AHEAD; i++)
		same += x->new[at + i] == x->old[pos + i];
	return same >= LOOK_AHEAD_FIT ? LOOK_AHEAD : len;
}

/* Where the next match begins that is better than going on; n if none. */
static size_t next_match(Patch *x, size_t at, size_t *ret_pos)
{
	while (at < x->n) {
		size_t fit = fitting(x, at);
		if (fit >= SEED) {
			at += fit;
			continue;
		}
		size_t pos, len = find(x->p, x->new, x->n, at, &pos), same = 0;
		for (size_t i = 0; i < len; i++)
			same += fits(x, at + i);
		if (len > same + 8) {
			*ret_pos = pos;
			return at;
		}
		at += len && len == same ? len : 1;
	}
	return x->n;
}

void ship_patch(ShipPatcher *p, const uint8_t *new, size_t n, const uint8_t *old, size_t m, size_t guess, const ShipPatchOps *ops)
{
	Patch x = { .p = p, .new = new, .old = old, .n = n, .m = m, .last_pos = guess < m ? guess : m, .ops = ops };
	size_t at = 0, pos = 0;
	p->old = old;
	p->m = m;
	p->ready = false;
	while ((at = next_match(&x, at, &pos)) < n) {
		settle(&x, at, pos, false);
		/* At least the match itself goes with it. */
		at += SEED;
	}
	settle(&x, n, 0, true);
}
