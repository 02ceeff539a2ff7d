// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdint.h>

#include "base/mem.h"
#include "edge/answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = xstrndup((const char *) data, size);
	AUTO_PROXY_STATE *s = proxy_state_new(8);
	AUTO_ERR err = ERR_INIT;
	ProxyInfo info;
	uint64_t n;
	for (ExpectKind e = EXPECT_NOTHING; e <= EXPECT_ANYTHING; e++) {
		const Command c = { (char *) "show x", e };
		AUTO_ERR why = ERR_INIT;
		int r = answer_check(&c, text, &why);
		assert((r < 0) == (why.text != NULL));
	}
	(void) answer_info(text, &info, NULL);
	assert(answer_slots(text) <= 4096);
	if (answer_servers(text, s, &err) < 0)
		assert(err.text);
	(void) answer_routes(text, s, NULL);
	for (size_t i = 1; i < s->n_routes; i++)
		assert(strcmp(s->routes[i - 1].key, s->routes[i].key) <= 0);
	(void) answer_slot_names(text, s, NULL);
	(void) answer_certs(text, s, NULL);
	(void) answer_in_flight(text, "c1", &n, NULL);
	return 0;
}
