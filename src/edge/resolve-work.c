// SPDX-License-Identifier: Apache-2.0
/* In a worker, because the resolver blocks, loads libraries, and reads what the network answers. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>

#include "edge/cert-work.h"

int resolve_work(const json_t *options, CertReportFn report, Err *err)
{
	static const int families[] = { AF_INET6, AF_INET };
	const char *name = json_string_value(json_object_get(options, "name"));
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	if (!name)
		return err_set(err, -EINVAL, "no name");
	int r = getaddrinfo(name, NULL, &hints, &list);
	if (r != 0)
		return err_set(err, -EHOSTUNREACH, "%s", r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
	json_t *addresses = json_array();
	for (int f = 0; f < 2; f++)
		for (const struct addrinfo *a = list; a; a = a->ai_next) {
			char text[INET6_ADDRSTRLEN];
			const void *p = a->ai_family == AF_INET6 ? (const void *) &((struct sockaddr_in6 *) a->ai_addr)->sin6_addr :
							       (const void *) &((struct sockaddr_in *) a->ai_addr)->sin_addr;
			if (a->ai_family == families[f] && inet_ntop(a->ai_family, p, text, sizeof(text)))
				(void) json_array_append_new(addresses, json_string(text));
		}
	freeaddrinfo(list);
	report(json_pack("{s:o}", "addresses", addresses));
	return 0;
}
