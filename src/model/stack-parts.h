// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tables of what a service and a stack consist of. Private to model/.
 */

#include "model/object.h"

extern const Schema port_schema, mount_schema, attachment_schema, depends_schema, healthcheck_schema;
extern const Schema ulimit_schema, device_schema, file_ref_schema;
extern const Schema build_schema;
extern const Schema service_schema;
extern const Schema stead_service_schema, stead_stack_schema; /* the values of "x-stead" */
extern const Schema network_schema, volume_schema, file_source_schema, stack_schema;

/** Checks that span services, after everything was read and sorted: references, cycles, ports, names. */
int stack_check(Reader *r, Stack *s);
/** Checks of one service alone. */
int service_check(Reader *r, void *service);
/** An error at services.SERVICE.KEY (KEY may be NULL). */
int stack_fail_in(Reader *r, const char *service, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/** That `service:` in builds leads to services, and in no circle. */
int stack_check_builds(Reader *r, const Stack *s);
/** That no two routes of the stack contradict each other. */
int stack_check_routes(Reader *r, const Stack *s);
