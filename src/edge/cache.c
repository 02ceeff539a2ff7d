// SPDX-License-Identifier: Apache-2.0
#include "edge/edge-private.h"

int edge_cache_open(Edge *e, Err *err)
{
	return 0;
}

void edge_cache_close(Edge *e)
{
}

void edge_cache_quit(Edge *e)
{
}

void edge_cache_table(Edge *e, const EdgeTable *t)
{
}

bool edge_cache_route(void *user, const EdgeRoute *r, Buf *ret)
{
	return false;
}

void edge_cache_sections(const char *jail, Buf *ret)
{
	buf_str(ret, "backend cache from common\n");
}
