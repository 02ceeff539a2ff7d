// SPDX-License-Identifier: Apache-2.0
/* The first byte picks the parser. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/registry.h"
#include "image/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	AUTO_FREE char *text = xstrndup((const char *) data + 1, size - 1);
	AUTO_ERR err = ERR_INIT;
	if (data[0] == 'c') {
		AUTO_CHALLENGE c = { 0 };
		if (challenge_parse(text, &c, &err) == 0 && c.kind == CHALLENGE_BEARER && !c.realm)
			abort();
	} else if (data[0] == 't') {
		AUTO_FREE char *token = NULL;
		if (token_parse((const char *) data + 1, size - 1, &token, &err) == 0 && (str_empty(token) || str_has_control(token)))
			abort();
	} else if (data[0] == 'u') {
		AUTO_URL u = { 0 };
		if (url_parse(text, &u, &err) == 0 && (!*u.host || !*u.port || u.path[0] != '/' || strpbrk(u.host, "/@\\?#")))
			abort();
	} else {
		AUTO_REGISTRY_RULES r = { 0 };
		if (registry_rules_parse(text, "f", &r, &err) < 0 && !str_starts(err_text(&err), "f:"))
			abort();
	}
	return 0;
}
