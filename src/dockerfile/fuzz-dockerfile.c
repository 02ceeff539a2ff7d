// SPDX-License-Identifier: Apache-2.0
/* A Dockerfile's whole way without I/O: parsed, its stages found, its instructions expanded and applied to a configuration. */
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "dockerfile/check.h"
#include "dockerfile/config.h"
#include "dockerfile/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply_triggers(const Dockerfile *f, json_t *image)
{
	AUTO_STRV char **triggers = config_take_triggers(image);
	for (char **t = triggers; t && *t; t++) {
		AUTO(instruction_done) Instruction i = { 0 };
		AUTO_ERR err = ERR_INIT;
		/* It was read before it was put there. */
		if (dockerfile_parse_trigger(f, *t, 1, &i, &err) < 0) {
			fprintf(stderr, "trigger not read again: %s\n", err_text(&err));
			abort();
		}
	}
}

static void apply_stage(Dockerfile *f, const Scope *global, const Stage *stage)
{
	AUTO(scope_freep) Scope *s = scope_new_stage(global, f, NULL);
	json_t *image = config_new("linux/amd64");
	ConfigState state = { 0 };
	for (size_t k = 0; k < stage->n_instructions; k++) {
		AUTO(instruction_done) Instruction i = { 0 };
		AUTO_ERR err = ERR_INIT;
		if (!stage->instructions[k].text || !stage->instructions[k].line)
			abort();
		check_variables(f, s, &stage->instructions[k]);
		if (instruction_expand(s, &stage->instructions[k], &i, &err) < 0 || scope_apply(s, &i, &err) < 0 ||
			config_apply(f, &i, image, &state, &err) < 0) {
			if (!err.text)
				abort();
			break;
		}
		const char *script;
		AUTO_STRV char **argv = i.kind == INSTRUCTION_RUN ? instruction_command(&i, NULL, &script) : NULL;
		AUTO_STRV char **args = scope_run_args(s);
		AUTO_FREE char *by = config_created_by(&i, argv, args);
		config_add_history(image, "2000-01-01T00:00:00Z", by, true);
	}
	AUTO_FREE char *text = json_dumps(image, 0);
	if (!text)
		abort();
	apply_triggers(f, image);
	json_decref(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(dockerfile_freep) Dockerfile *f = NULL;
	AUTO(scope_freep) Scope *global = NULL;
	AUTO(graph_freep) Graph *g = NULL;
	AUTO_ERR err = ERR_INIT;
	const BuildArguments a = { .build_platform = "linux/amd64" };
	if (dockerfile_parse("Dockerfile", (const char *) data, size, &f, &err) < 0) {
		if (!err.text || !str_starts(err.text, "Dockerfile:"))
			abort();
		return 0;
	}
	if (scope_new_global(f, &a, &global, &err) < 0 || dockerfile_graph(f, global, NULL, NULL, &g, &err) < 0) {
		if (!err.text)
			abort();
		return 0;
	}
	check_bases(f, global, &a);
	for (size_t k = 0; k < g->n_stages; k++) {
		for (size_t n = 0; n < g->stages[k].n_needs; n++)
			if (g->stages[k].needs[n] >= k)
				abort();
		apply_stage(f, global, &f->stages[g->stages[k].stage]);
	}
	return 0;
}
