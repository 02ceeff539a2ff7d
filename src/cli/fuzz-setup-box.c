// SPDX-License-Identifier: Apache-2.0
/* What a machine answers to the probe. */
#include <assert.h>
#include <stdint.h>

#include "base/str.h"
#include "cli/setup-box.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_BOX b = { 0 };
	AUTO_ERR err = ERR_INIT;
	AUTO_BUF plan = BUF_INIT;
	(void) setup_elf_arch(data, size);
	if (setup_box_parse((const char *) data, size, &b, &err) < 0) {
		assert(err.text);
		return 0;
	}
	assert(b.id && b.user && b.arch && !str_has_control(b.user));
	(void) setup_box_check(&b, "box", &err);
	setup_box_plan(&b, "box", "1", &plan);
	return 0;
}
