// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "compose/env-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *get(void *user, const char *name)
{
	return str_eq(name, "A") ? "one" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const Variables v = { .get = get };
	for (EnvFormat f = ENV_FORMAT_COMPOSE; f <= ENV_FORMAT_RAW; f++) {
		AUTO_STRV char **env = NULL;
		AUTO_ERR err = ERR_INIT;
		if (env_file_parse("f", (const char *) data, size, f, &v, &env, &err) < 0 && !err.text)
			abort();
		for (char **p = env; p && *p; p++)
			if (**p == '=' || !strchr(*p, '='))
				abort();
	}
	return 0;
}
