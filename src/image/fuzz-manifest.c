// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"
#include "image/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DockerManifests m = { 0 };
	OciDocument d = { 0 };
	size_t chosen = 0;
	AUTO_ERR err = ERR_INIT;
	if (docker_manifest_parse((const char *) data, size, &m, &err) == 0)
		docker_manifests_done(&m);
	if (oci_document_parse((const char *) data, size, &d, &err) < 0)
		return 0;
	for (size_t i = 0; i < d.n_items; i++)
		if (!digest_valid(d.items[i].digest))
			abort();
	if (d.kind == OCI_INDEX && oci_choose(&d, "arm", "v7", &chosen, &err) == 0 && chosen >= d.n_items)
		abort();
	oci_document_done(&d);
	return 0;
}
