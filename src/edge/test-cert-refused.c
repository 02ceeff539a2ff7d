// SPDX-License-Identifier: Apache-2.0
#include "edge/testing.h"

#include "edge/cert-refused.h"
#include "edge/converge.h"

#define SECOND NSEC_PER_SEC

static ProxyState *with(const char *file, const char *digest)
{
	ProxyState *s = proxy_state_new(1);
	const char *const files[] = { "/c/default.pem", file, "/c/z.pem" };
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (!files[i])
			continue;
		ProxyCert *c = array_append(s->certs, s->n_certs);
		*c = (ProxyCert) { .file = xstrdup(files[i]), .pem = xstrdup("PEM\n") };
		(void) snprintf(c->digest, sizeof(c->digest), "%s", i == 1 ? digest : "0");
		strv_add(&c->names, "a.test");
	}
	return s;
}

static size_t commands(const ProxyState *have, const ProxyState *want)
{
	AUTO_PROXY_STATE *after = NULL;
	Commands c;
	converge("/d", have, want, &c, &after);
	size_t n = c.n;
	commands_done(&c);
	return n;
}

/* What is wanted at `now`, and what was wrong about it if HAProxy refuses it. */
static size_t tried(RefusedCerts *r, const ProxyState *have, const char *digest, int64_t now, int64_t *ret_next)
{
	AUTO_PROXY_STATE *want = with("/c/new.pem", digest);
	*ret_next = refused_apply(r, have, want, now);
	return commands(have, want);
}

static void test_new_one(void **state)
{
	RefusedCerts r = { 0 };
	AUTO_PROXY_STATE *have = with(NULL, NULL);
	AUTO_PROXY_STATE *want = with("/c/new.pem", "1");
	int64_t next, now = SECOND;
	assert_int_equal(tried(&r, have, "1", now, &next), 4);
	for (unsigned i = 0; i < 12; i++) {
		int64_t wait = SECOND << (i < 8 ? i : 8);
		refused_note(&r, &want->certs[1], now);
		assert_int_equal(tried(&r, have, "1", now + wait - 1, &next), 0);
		assert_int_equal(next, now + wait);
		now += wait;
		assert_int_equal(tried(&r, have, "1", now, &next), 4);
		assert_int_equal(next, 0);
	}
	/* Another one is tried at once, and from the beginning. */
	refused_note(&r, &want->certs[1], now);
	assert_int_equal(tried(&r, have, "2", now, &next), 4);
	assert_int_equal(r.n, 0);
	refused_done(&r);
}

static void test_renewed_one(void **state)
{
	RefusedCerts r = { 0 };
	AUTO_PROXY_STATE *have = with("/c/new.pem", "1");
	AUTO_PROXY_STATE *want = with("/c/new.pem", "2");
	int64_t next;
	assert_int_equal(tried(&r, have, "2", 0, &next), 2);
	/* What HAProxy has of it now is unknown: all of it is said once more. */
	refused_note(&r, &want->certs[1], 0);
	converge_cert_unknown(have, 1);
	assert_int_equal(tried(&r, have, "2", SECOND - 1, &next), 0);
	assert_int_equal(tried(&r, have, "2", SECOND, &next), 5);
	/* It is in place: forgotten. */
	AUTO_PROXY_STATE *done = with("/c/new.pem", "2");
	assert_int_equal(tried(&r, done, "2", SECOND, &next), 0);
	assert_int_equal(next, 0);
	assert_int_equal(r.n, 0);
	/* It is not wanted any more: forgotten. */
	refused_note(&r, &want->certs[1], 0);
	AUTO_PROXY_STATE *without = with(NULL, NULL);
	assert_int_equal(refused_apply(&r, have, without, 0), 0);
	assert_int_equal(r.n, 0);
	refused_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_one),
		cmocka_unit_test(test_renewed_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
