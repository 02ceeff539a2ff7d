// SPDX-License-Identifier: Apache-2.0

/*
 * Records of the daemon: what passes the check is applied to a table, and looked up.
 */

#include <stdlib.h>
#include <string.h>

#include "names/control.h"
#include "names/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	NamesRecord *r = malloc(sizeof(*r));
	Table t = { 0 };
	Matches m = { 0 };

	if (n <= sizeof(*r)) {
		memset(r, 0xff, sizeof(*r));
		memcpy(r, p, n);
		if (control_check(r, n) == 0 && r->header.type == NAMES_SET && table_set(&t, &r->set) == 0 &&
			r->set.n) {
			if (t.n != 1 || t.n_entries != 1)
				abort();
			(void) table_find(t.networks, t.n, r->set.text, &m);
			if (!*entry_name(&t.networks[0]->entries[0]))
				abort();
		}
	}
	table_done(&t);
	free(m.items);
	free(r);
	return 0;
}
