// SPDX-License-Identifier: Apache-2.0
#include "edge/edge-private.h"

int edge_cert_open(Edge *e, Err *err)
{
	return 0;
}

void edge_cert_close(Edge *e)
{
}

void edge_cert_table(Edge *e, const EdgeTable *t)
{
}

void edge_cert_state(Edge *e, ProxyState *s)
{
}

int edge_cert_check(Edge *e, const EdgeTable *t, Err *err)
{
	return 0;
}

bool edge_cert_redirect(void *user, const EdgeRoute *r)
{
	return false;
}

const char *edge_cert_thumbprint(void *user, const EdgeRoute *r)
{
	return NULL;
}
