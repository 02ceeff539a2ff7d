// SPDX-License-Identifier: Apache-2.0
/* What is taken of an exported cache has digests where digests belong, and is taken again as it is. */
#include "base/mem.h"
#include "base/str.h"
#include "build/cache-layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(const json_t *record)
{
	const json_t *layers = json_object_get(record, "layers");
	const char *list = json_string_value(json_object_get(record, "list")), *same = json_string_value(json_object_get(record, "same"));
	json_t *again = cache_record_clean(record);
	if (!again || !json_equal(again, record) || (list && !cache_hex_valid(list)) || (same && !cache_hex_valid(same)) || (!same && !layers))
		abort();
	for (size_t i = 0; i < json_array_size(layers); i++)
		if (!digest_valid(json_string_value(json_array_get(layers, i))))
			abort();
	json_decref(again);
}

static void check_descriptor(const json_t *descriptor)
{
	AUTO_FREE char *name = cache_blob_name(descriptor);
	if (name && (!str_starts(name, CACHE_BLOBS) || !cache_hex_valid(name + strlen(CACHE_BLOBS))))
		abort();
	if (cache_blob_size(descriptor) < -1)
		abort();
	(void) cache_annotation(descriptor, CACHE_DIFF_ID);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *o = json_loadb((const char *) data, size, JSON_REJECT_DUPLICATES, NULL);
	json_t *record = cache_record_clean(o);
	const json_t *layers = json_object_get(o, "layers"), *manifests = json_object_get(o, "manifests");
	if (record)
		check_record(record);
	check_descriptor(o);
	for (size_t i = 0; i < json_array_size(layers); i++)
		check_descriptor(json_array_get(layers, i));
	for (size_t i = 0; i < json_array_size(manifests); i++)
		check_descriptor(json_array_get(manifests, i));
	json_decref(record);
	json_decref(o);
	return 0;
}
