// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "model/image.h"

#define DIFF "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" DIFF "\"]}"

static void whole_config(void **state)
{
	static const char json[] =
		"{\"architecture\":\"arm64\",\"variant\":\"v8\",\"os\":\"linux\",\"created\":\"2024-01-02T03:04:05Z\"," ROOTFS
		",\"config\":{\"Entrypoint\":[\"/e\"],\"Cmd\":[\"a\",\"b\"],\"Env\":[\"PATH=/bin\",\"EMPTY\"],\"User\":\"1:2\","
		"\"WorkingDir\":\"srv\",\"StopSignal\":\"SIGQUIT\",\"Labels\":{\"k\":\"v=w\"},\"ExposedPorts\":{\"80\":{},"
		"\"53/udp\":{},\"7-8/tcp\":{}},\"Volumes\":{\"/data\":{}},\"Shell\":null,\"Healthcheck\":{\"Test\":[\"CMD\",\"t\"],"
		"\"Interval\":1000000000,\"Timeout\":0,\"Retries\":2},\"OnBuild\":null}}";
	Image *i = NULL;
	AUTO_ERR err = ERR_INIT;
	assert_int_equal(image_from_config(json, strlen(json), &i, &err), 0);
	assert_true(digest_valid(i->id));
	assert_string_equal(i->architecture, "arm64");
	assert_string_equal(i->variant, "v8");
	assert_true(i->created == 1704164645000000000);
	assert_int_equal(i->n_layers, 1);
	assert_string_equal(i->layers[0].diff_id, DIFF);
	assert_string_equal(i->config.cmd[1], "b");
	assert_string_equal(i->config.env[1], "EMPTY=");
	assert_string_equal(i->config.working_dir, "/srv");
	assert_string_equal(i->config.labels[0], "k=v=w");
	assert_int_equal(strv_len(i->config.exposed_ports), 4);
	assert_true(strv_has(i->config.exposed_ports, "80/tcp"));
	assert_true(strv_has(i->config.exposed_ports, "8/tcp"));
	assert_string_equal(i->config.volumes[0], "/data");
	assert_true(i->config.healthcheck.set);
	assert_true(i->config.healthcheck.interval == 1000000000);
	assert_true(i->config.healthcheck.timeout == -1);
	assert_int_equal(i->config.healthcheck.retries, 2);
	assert_string_equal(i->config_json, json);
	char name[33];
	layer_dir_name(i->layers[0].diff_id, name);
	assert_string_equal(name, "0123456789abcdef0123456789abcdef");
	image_free(i);
}

static void small_configs(void **state)
{
	static const char *const taken[] = {
		"{" ROOTFS "}",
		"{\"rootfs\":{}}",
		"{" ROOTFS ",\"config\":null}",
		"{" ROOTFS ",\"config\":{\"Cmd\":\"one\",\"Healthcheck\":{\"Test\":[\"NONE\"]}}}",
		"{" ROOTFS ",\"config\":{\"Healthcheck\":{\"Interval\":5}},\"created\":\"never\"}",
	};
	for (size_t k = 0; k < ARRAY_SIZE(taken); k++) {
		Image *i = NULL;
		AUTO_ERR err = ERR_INIT;
		if (image_from_config(taken[k], strlen(taken[k]), &i, &err) < 0)
			fail_msg("%s: %s", taken[k], err_text(&err));
		image_free(i);
	}
}

static void refused(void **state)
{
	static const char *const cases[] = {
		"", "[]", "{}", "{\"rootfs\":null}", "{\"rootfs\":[]}", "{\"rootfs\":{\"diff_ids\":{}}}",
		"{\"rootfs\":{\"diff_ids\":[\"sha256:../../etc\"]}}", "{\"rootfs\":{\"diff_ids\":[1]}}", "{" ROOTFS "," ROOTFS "}",
		"{" ROOTFS ",\"config\":[]}", "{" ROOTFS ",\"config\":{\"Cmd\":[1]}}", "{" ROOTFS ",\"config\":{\"Cmd\":{}}}",
		"{" ROOTFS ",\"config\":{\"Env\":[\"=x\"]}}", "{" ROOTFS ",\"config\":{\"User\":\"a\\nb\"}}",
		"{" ROOTFS ",\"config\":{\"User\":\"a\\u0000b\"}}", "{" ROOTFS ",\"config\":{\"Labels\":{\"a=b\":\"c\"}}}",
		"{" ROOTFS ",\"config\":{\"Labels\":{\"a\":1}}}", "{" ROOTFS ",\"config\":{\"ExposedPorts\":{\"0\":{}}}}",
		"{" ROOTFS ",\"config\":{\"ExposedPorts\":{\"80/icmp\":{}}}}", "{" ROOTFS ",\"config\":{\"ExposedPorts\":{\"9-8\":{}}}}",
		"{" ROOTFS ",\"config\":{\"ExposedPorts\":{\"1-65535\":{}}}}", "{" ROOTFS ",\"config\":{\"ExposedPorts\":{\"65536\":{}}}}",
		"{" ROOTFS ",\"config\":{\"Volumes\":{\"/a/../../etc\":{}}}}", "{" ROOTFS ",\"config\":{\"Volumes\":{\"data\":{}}}}",
		"{" ROOTFS ",\"config\":{\"Volumes\":{\"/..\":{}}}}", "{" ROOTFS ",\"config\":{\"WorkingDir\":\"../x/..\"}}",
		"{" ROOTFS ",\"config\":{\"Healthcheck\":{\"Test\":[\"SH\",\"x\"]}}}",
		"{" ROOTFS ",\"config\":{\"Healthcheck\":{\"Test\":[\"CMD\"]}}}",
		"{" ROOTFS ",\"config\":{\"Healthcheck\":{\"Test\":[\"CMD\",\"x\"],\"Interval\":-1}}}",
		"{" ROOTFS ",\"config\":{\"Healthcheck\":{\"Retries\":99999999999}}}", "{" ROOTFS ",\"os\":3}", "{" ROOTFS "} x",
	};
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		Image *i = NULL;
		AUTO_ERR err = ERR_INIT;
		if (image_from_config(cases[k], strlen(cases[k]), &i, &err) != -EINVAL)
			fail_msg("taken: %s", cases[k]);
		assert_non_null(err.text);
		assert_null(i);
	}
}

static void counts_are_bounded(void **state)
{
	AUTO_BUF b = BUF_INIT;
	Image *i = NULL;
	buf_str(&b, "{\"rootfs\":{\"diff_ids\":[");
	for (int k = 0; k <= LIMIT_IMAGE_LAYERS; k++)
		buf_printf(&b, "%s\"" DIFF "\"", k ? "," : "");
	buf_str(&b, "]}}");
	assert_int_equal(image_from_config(b.data, b.len, &i, NULL), -EINVAL);
	buf_clear(&b);
	buf_str(&b, "{" ROOTFS ",\"config\":{\"Cmd\":[");
	for (int k = 0; k < 100000; k++)
		buf_printf(&b, "%s\"\"", k ? "," : "");
	buf_str(&b, "]}}");
	assert_int_equal(image_from_config(b.data, b.len, &i, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_config),
		cmocka_unit_test(small_configs),
		cmocka_unit_test(refused),
		cmocka_unit_test(counts_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
