// SPDX-License-Identifier: Apache-2.0
/* What answers a probe. The first byte chooses the size of the pieces; however it is cut, the outcome is the same. */
#include <assert.h>
#include <stdint.h>

#include "io/probe-reply.h"

#define BODY_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ProbeReplyState feed(ProbeReply *r, const char *p, size_t n, size_t piece)
{
	ProbeReplyState state = PROBE_REPLY_MORE;
	for (size_t at = 0; at < n && state == PROBE_REPLY_MORE; at += piece) {
		state = probe_reply_feed(r, p + at, n - at < piece ? n - at : piece);
		assert(r->body.len <= BODY_MAX && r->body.len <= r->body_bytes);
		assert(state != PROBE_REPLY_BAD || r->bad_text);
	}
	if (state == PROBE_REPLY_MORE)
		state = probe_reply_feed(r, NULL, 0);
	assert(state != PROBE_REPLY_MORE);
	assert(state != PROBE_REPLY_COMPLETE || r->status >= 100);
	return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	ProbeReply whole, cut;
	probe_reply_init(&whole, BODY_MAX);
	probe_reply_init(&cut, BODY_MAX);
	const char *text = (const char *) data + 1;
	ProbeReplyState a = feed(&whole, text, size - 1, size), b = feed(&cut, text, size - 1, (size_t) data[0] % 16 + 1);
	assert(a == b && whole.status == cut.status && whole.body_bytes == cut.body_bytes);
	assert(whole.body.len == cut.body.len && memcmp(buf_cstr(&whole.body), buf_cstr(&cut.body), cut.body.len) == 0);
	probe_reply_done(&whole);
	probe_reply_done(&cut);
	return 0;
}
