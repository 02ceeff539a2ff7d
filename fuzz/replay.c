// SPDX-License-Identifier: Apache-2.0
/*
 * Stands in for libFuzzer in an ordinary build: runs the fuzz target once on each file of the
 * corpus directory that is given as the argument. An empty corpus is a failure, since a replay of
 * nothing would always pass.
 */

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>

#include "base/fs.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
		return 2;
	}
	DIR *d = opendir(argv[1]);
	if (!d) {
		perror(argv[1]);
		return 1;
	}
	int n = 0;
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_BUF b = BUF_INIT;
		if (e->d_name[0] == '.' || file_read(dirfd(d), e->d_name, 16 << 20, &b) < 0)
			continue;
		/* An exact copy on the heap, so that the sanitizer sees a read past the end. */
		AUTO_FREE uint8_t *copy = xmemdup(b.data ? b.data : "", b.len);
		(void) LLVMFuzzerTestOneInput(copy, b.len);
		n++;
	}
	(void) closedir(d);
	printf("%d inputs replayed\n", n);
	return n ? 0 : 1;
}
