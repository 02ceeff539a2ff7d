// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "image/manifest.h"

#define D "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ITEM(os, arch, variant) "{\"digest\":\"" D "\",\"size\":1,\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"" variant "}}"

static void choice_of_platform(void **state)
{
	static const char json[] = "{\"schemaVersion\":2,\"manifests\":[" ITEM("windows", "amd64", "") "," ITEM("linux", "amd64", "") ","
		ITEM("linux", "arm", ",\"variant\":\"v6\"") "," ITEM("linux", "arm", ",\"variant\":\"v7\"") ","
		ITEM("linux", "arm64", ",\"variant\":\"v8\"") "," ITEM("unknown", "unknown", "") "]}";
	static const struct {
		const char *arch, *variant;
		int index; /* -1: none */
	} cases[] = {
		{ "amd64", NULL, 1 }, { "arm", "v7", 3 }, { "arm", "v6", 2 }, { "arm64", "v8", 4 }, { "arm64", NULL, 4 }, { "arm", "v5", -1 },
		{ "s390x", NULL, -1 },
	};
	OciDocument d = { 0 };
	AUTO_ERR err = ERR_INIT;
	if (oci_document_parse(json, strlen(json), &d, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(d.kind, OCI_INDEX);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t chosen = 99;
		int r = oci_choose(&d, cases[i].arch, cases[i].variant, &chosen, &err);
		if (cases[i].index < 0)
			assert_int_equal(r, -ENOENT);
		else
			assert_int_equal(chosen, cases[i].index);
	}
	assert_non_null(strstr(err_text(&err), "linux/arm64/v8"));
	oci_document_done(&d);
}

static void documents_refused(void **state)
{
	static const char *const cases[] = {
		"", "[]", "{}", "{\"schemaVersion\":1,\"manifests\":[]}", "{\"schemaVersion\":2}",
		"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}",
		"{\"schemaVersion\":2,\"manifests\":[],\"config\":{\"digest\":\"" D "\",\"size\":1}}",
		"{\"schemaVersion\":2,\"layers\":[]}",
		"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"manifests\":[]}",
		"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"sha256:../../x\",\"size\":1}]}",
		"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" D "\"}]}",
		"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" D "\",\"size\":-1}]}",
		"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" D "\",\"size\":\"1\"}]}",
		"{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		OciDocument d = { 0 };
		if (oci_document_parse(cases[i], strlen(cases[i]), &d, NULL) >= 0)
			fail_msg("taken: %s", cases[i]);
	}
}

static void names_of_images(void **state)
{
	static const char json[] = "{\"schemaVersion\":2,\"manifests\":["
		"{\"digest\":\"" D "\",\"size\":1,\"annotations\":{\"org.opencontainers.image.ref.name\":\"latest\"}},"
		"{\"digest\":\"" D "\",\"size\":1,\"annotations\":{\"org.opencontainers.image.ref.name\":\"a:1\"}},"
		"{\"digest\":\"" D "\",\"size\":1,\"annotations\":{\"org.opencontainers.image.ref.name\":\"1\","
		"\"io.containerd.image.name\":\"docker.io/library/a:1\"}}]}";
	OciDocument d = { 0 };
	assert_int_equal(oci_document_parse(json, strlen(json), &d, NULL), 0);
	assert_null(d.items[0].name);
	assert_string_equal(d.items[1].name, "docker.io/library/a:1");
	assert_string_equal(d.items[2].name, "docker.io/library/a:1");
	oci_document_done(&d);
}

static void names_of_architectures(void **state)
{
	const char *variant;
	assert_string_equal(platform_arch("armhf", &variant), "arm");
	assert_string_equal(variant, "v7");
	assert_string_equal(platform_arch("aarch64", NULL), "arm64");
	assert_null(platform_arch("vax", NULL));
	assert_string_equal(platform_debian("arm", "v6"), "armel");
	assert_string_equal(platform_debian("amd64", NULL), "amd64");
	assert_non_null(platform_host(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(choice_of_platform),
		cmocka_unit_test(documents_refused),
		cmocka_unit_test(names_of_images),
		cmocka_unit_test(names_of_architectures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
