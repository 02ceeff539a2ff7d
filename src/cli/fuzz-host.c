// SPDX-License-Identifier: Apache-2.0
/* Addresses of hosts and the file of named ones: what comes out of them can be no option of ssh, and nothing to a shell. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "cli/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *url)
{
	AUTO_HOST a = { 0 };
	AUTO_ERR err = ERR_INIT;
	if (host_parse(url, &a, &err) < 0) {
		assert(err.text);
		return;
	}
	assert(a.ssh ? a.host != NULL : a.path && !a.host);
	const char *const parts[] = { a.user, a.host, a.port };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i])
			assert(*parts[i] && *parts[i] != '-' && !strpbrk(parts[i], " \t\n'\"`$\\;&<>|(){}*?!#~"));
	assert(!a.path || *a.path == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = xstrndup((const char *) data, size), *url = NULL;
	AUTO_ERR err = ERR_INIT;
	check(text);
	if (hosts_find(text, "hosts", "pi", &url, &err) == 0)
		check(url);
	else
		assert(err.text);
	return 0;
}
