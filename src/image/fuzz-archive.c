// SPDX-License-Identifier: Apache-2.0
/* From the outside in, up to where layers would be unpacked: compression, the index of members, the documents. */
#include <stdint.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "base/mem.h"
#include "image/archive-index.h"
#include "image/manifest.h"

#define UNPACKED_MAX (256U << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_docker(const ArchiveIndex *a)
{
	AUTO_BUF json = BUF_INIT;
	AUTO_BUF config = BUF_INIT;
	DockerManifests m = { 0 };
	Image *image = NULL;
	if (archive_index_get(a, "manifest.json", &json, NULL) < 0 || docker_manifest_parse(buf_cstr(&json), json.len, &m, NULL) < 0)
		return;
	for (size_t k = 0; k < m.items[0].n_layers; k++)
		(void) archive_index_find(a, m.items[0].layers[k]);
	if (archive_index_get(a, m.items[0].config, &config, NULL) == 0 &&
		image_from_config(buf_cstr(&config), config.len, &image, NULL) == 0)
		image_free(image);
	docker_manifests_done(&m);
}

static void read_oci(const ArchiveIndex *a)
{
	AUTO_BUF json = BUF_INIT;
	OciDocument d = { 0 };
	if (archive_index_get(a, "index.json", &json, NULL) == 0 && oci_document_parse(buf_cstr(&json), json.len, &d, NULL) == 0)
		oci_document_done(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_STREAM plain = NULL;
	AUTO_BUF tar = BUF_INIT;
	char chunk[4096];
	ssize_t n;
	if (stream_unpack(stream_memory(data, size), UNPACKED_MAX, &plain, NULL, &err) < 0)
		return 0;
	while ((n = stream_read(plain, chunk, sizeof(chunk), &err)) > 0)
		buf_append(&tar, chunk, (size_t) n);
	int fd = memfd_create("archive", MFD_CLOEXEC);
	if (fd < 0 || fd_write_all(fd, buf_cstr(&tar), tar.len) < 0)
		abort();
	ArchiveIndex a = { .fd = -1 };
	if (archive_index_read(fd, 0, &a, &err) < 0)
		return 0;
	for (size_t i = 0; i < a.n; i++) {
		const ArchiveMember *m = archive_index_find(&a, a.members[i].name);
		if (m && m->offset + m->size > tar.len)
			abort();
	}
	read_docker(&a);
	read_oci(&a);
	archive_index_done(&a);
	return 0;
}
