// SPDX-License-Identifier: Apache-2.0
/*
 * Values that several of Docker's objects have.
 */
#include "base/mem.h"
#include "base/str.h"
#include "daemon/docker-json.h"

json_t *docker_strv_or_null(char *const *v)
{
	return strv_len(v) ? json_strv(v) : json_null();
}

json_t *docker_name_set(char *const *v)
{
	json_t *o = json_object();
	for (; v && *v; v++)
		set(o, *v, json_object());
	return o;
}

json_t *docker_healthcheck(const Healthcheck *h)
{
	json_t *o = json_object();
	set(o, "Test", json_strv(h->test));
	const struct {
		const char *key;
		int64_t value;
	} numbers[] = { { "Interval", h->interval }, { "Timeout", h->timeout }, { "StartPeriod", h->start_period },
		{ "StartInterval", h->start_interval }, { "Retries", h->retries } };
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (numbers[i].value > 0) /* as in Docker's Go, what is unset is not there */
			set_int(o, numbers[i].key, numbers[i].value);
	return o;
}

int docker_prefix(const char *cidr)
{
	const char *slash = cidr ? strchr(cidr, '/') : NULL;
	uint32_t n = 0;
	if (slash)
		(void) parse_u32_max(slash + 1, 128, &n);
	return (int) n;
}
