// SPDX-License-Identifier: Apache-2.0
/*
 * What a notice may hold: commit messages, authors, and whatever a container wrote before it died. The input is cut at NUL into the texts
 * of a notice and its log lines; its first byte chooses the kind. Whatever it is, each vendor must be able to take the result.
 */
#include <assert.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "notify/testing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_all(const Notice *n)
{
	NotifyTarget mail = { .kind = NOTIFY_MAIL, .url = (char *) (uintptr_t) "smtp://mail", .from = (char *) (uintptr_t) "stead@example.com",
			      .to = (char *[]) { (char *) (uintptr_t) "ops@example.com", NULL } };
	json_t *slack = notify_slack(n), *discord = notify_discord(n), *ntfy = notify_ntfy(n, "topic");
	vendor_check_slack(slack);
	vendor_check_discord(discord);
	vendor_check_ntfy(ntfy);
	json_decref(slack);
	json_decref(discord);
	json_decref(ntfy);
	AUTO_BUF b = BUF_INIT;
	AUTO_BUF text = BUF_INIT;
	assert(notify_mail(&mail, n, &b, NULL) == 0);
	vendor_check_mail(b.data, b.len, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_STRV char **parts = NULL;
	const char *fields[8] = { NULL };
	if (size < 1)
		return 0;
	AUTO_FREE char *copy = xstrndup("", 0);
	for (size_t at = 1, n; at < size && strv_len(parts) < 200; at += n + 1) {
		n = strnlen((const char *) data + at, size - at);
		free(copy);
		copy = xstrndup((const char *) data + at, n);
		strv_add(&parts, copy);
	}
	size_t count = strv_len(parts);
	for (size_t i = 0; i < ARRAY_SIZE(fields) && i < count; i++)
		fields[i] = parts[i];
	Notice n = { .kind = (NoticeKind) (data[0] % N_NOTICE_KINDS), .stack = "blog", .service = fields[0], .release = data[0], .base = data[0] >> 1,
		     .who = fields[1], .commit = fields[2], .author = fields[3], .step = fields[4], .text = fields[5], .next = fields[6], .url = fields[7],
		     .id = "00ff", .host = fields[1], .took_ns = 1234567890, .time = 1700000000000000000, .log_lines = count > 8 ? parts + 8 : NULL };
	json_t *o = notice_to_json(&n);
	char *written = json_dumps(o, JSON_COMPACT);
	assert(written && strlen(written) <= LIMIT_NOTICE_BYTES);
	json_t *read = json_loads(written, 0, NULL);
	Notice again;
	assert(read && notice_from_json(read, &again, NULL) == 0);
	check_all(&again);
	/* Nothing is lost or changed by another turn. */
	json_t *twice = notice_to_json(&again);
	assert(json_equal(o, twice));
	notice_done(&again);
	json_decref(twice);
	json_decref(read);
	json_decref(o);
	free(written);
	return 0;
}
