// SPDX-License-Identifier: Apache-2.0
/* What a daemon (or whatever listens in its place) answers, through a pipe. The first byte chooses how it is read. */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>

#include "base/fs.h"
#include "base/mem.h"
#include "io/http-client.h"

#define INPUT_MAX 60000 /* fits into a pipe */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_body(HttpClient *c, int how)
{
	AUTO_BUF b = BUF_INIT;
	char *line, piece[7];
	size_t n;
	if (how == 0) {
		(void) http_read_all(c, INPUT_MAX, &b, NULL);
		return;
	}
	while (how == 1 && http_read_line(c, &line, &n, NULL) > 0)
		assert(line[n] == '\0');
	while (how == 2 && http_read_some(c, piece, sizeof(piece), NULL) > 0)
		;
	if (how == 3) {
		int in, out;
		http_hijack_client(c, &in, &out, &b);
		(void) close(in);
		(void) close(out);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int in[2];
	if (size < 1 || size > INPUT_MAX || pipe2(in, O_CLOEXEC) < 0)
		return 0;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert(null >= 0 && fd_write_all(in[1], data + 1, size - 1) == 0);
	(void) close(in[1]);
	AUTO_HTTP *c = http_client_new(in[0], null);
	AUTO_ERR err = ERR_INIT;
	int how = data[0] & 3;
	int r = data[0] & 4 ? http_call(c, "GET", "/", NULL, how == 3, &err) : http_request(c, "HEAD", "/", NULL, false, &err);
	assert(r > 0 || err.text);
	if (r > 0) {
		(void) http_response_header(c, "X");
		read_body(c, how);
	}
	return 0;
}
