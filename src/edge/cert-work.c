// SPDX-License-Identifier: Apache-2.0
#include "edge/cert-work.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "edge/cert-make.h"

typedef struct Batch {
	const char *dir, *ca_dir, *box;
	int64_t now;
	CertCa ca; /* opened by the first item that needs it */
} Batch;

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* Names of files come from the daemon; a slash in one would be a bug there. */
static int out_path(const Batch *b, const json_t *item, char **ret, Err *err)
{
	const char *out = text(item, "out");
	if (!out || strchr(out, '/'))
		return err_set(err, -EINVAL, "no name for the certificate's file");
	*ret = xasprintf("%s/%s", b->dir, out);
	return 0;
}

/* What stands there already is not written again: a start of the daemon costs no fsync. */
static int put_bundle(const char *path, const Buf *bundle, Err *err)
{
	AUTO_BUF old = BUF_INIT;
	if (file_read(AT_FDCWD, path, LIMIT_CERT_FILE, &old) == 0 && old.len == bundle->len && memcmp(old.data, bundle->data, old.len) == 0)
		return 0;
	int r = file_write_atomic(AT_FDCWD, path, bundle->data, bundle->len, 0600, true);
	return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

static void info_json(const CertInfo *i, json_t *ret)
{
	(void) json_object_set_new(ret, "not_before", json_integer(i->not_before));
	(void) json_object_set_new(ret, "not_after", json_integer(i->not_after));
	(void) json_object_set_new(ret, "issuer", json_string(i->issuer));
	(void) json_object_set_new(ret, "digest", json_string(i->digest));
	if (i->warning)
		(void) json_object_set_new(ret, "warning", json_string(i->warning));
}

static int do_files(Batch *b, const json_t *item, json_t *ret, Err *err)
{
	const char *cert = text(item, "cert"), *key = text(item, "key");
	AUTO_FREE char *path = NULL;
	AUTO_CERT_INFO info = { 0 };
	AUTO_BUF bundle = BUF_INIT;
	if (!cert || !key)
		return err_set(err, -EINVAL, "no files named");
	int r = json_object_get(item, "out") ? out_path(b, item, &path, err) : 0;
	if (r < 0 || (r = cert_pem_files(cert, key, text(item, "host"), b->now, &bundle, &info, err)) < 0)
		return r;
	if (path && (r = put_bundle(path, &bundle, err)) < 0)
		return r;
	info_json(&info, ret);
	return 0;
}

static int do_local(Batch *b, const json_t *item, json_t *ret, Err *err)
{
	const json_t *list = json_object_get(item, "names");
	bool self = json_is_true(json_object_get(item, "self"));
	AUTO_FREE char *path = NULL;
	AUTO_STRV char **names = NULL;
	AUTO_CERT_INFO info = { 0 };
	AUTO_BUF old = BUF_INIT, bundle = BUF_INIT;
	int r = out_path(b, item, &path, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_is_string(json_array_get(list, i)))
			strv_add(&names, json_string_value(json_array_get(list, i)));
	if (!names)
		return err_set(err, -EINVAL, "a certificate without a name");
	if (!self && !b->ca.cert && (r = cert_ca_open(b->ca_dir, b->box, b->now, &b->ca, err)) < 0)
		return r;
	const CertCa *ca = self ? NULL : &b->ca;
	if (file_read(AT_FDCWD, path, LIMIT_CERT_FILE, &old) < 0 || !cert_leaf_good(buf_cstr(&old), old.len, ca, names, b->now, &info))
		if ((r = cert_leaf_make(ca, names, b->now, &bundle, &info, err)) < 0 || (r = put_bundle(path, &bundle, err)) < 0)
			return r;
	info_json(&info, ret);
	return 0;
}

static int do_account(Batch *b, const json_t *item, json_t *ret, Err *err)
{
	const char *path = text(item, "key");
	AUTO_BUF pem = BUF_INIT, thumbprint = BUF_INIT;
	if (!path)
		return err_set(err, -EINVAL, "no file named");
	int r = file_read(AT_FDCWD, path, LIMIT_CERT_FILE, &pem);
	if (r == -ENOENT) {
		const char *slash = strrchr(path, '/');
		AUTO_FREE char *dir = slash ? xstrndup(path, (size_t) (slash - path)) : xstrdup(".");
		if ((r = dir_make(dir, 0700)) < 0)
			return err_errno(err, r, "%s", dir);
		if ((r = cert_account_key_make(&pem, err)) < 0)
			return r;
		r = file_write_atomic(AT_FDCWD, path, pem.data, pem.len, 0600, true);
	}
	if (r < 0)
		return err_errno(err, r, "%s", path);
	if ((r = cert_key_thumbprint(pem.data, pem.len, &thumbprint, err)) < 0)
		return err_wrap(err, "%s", path);
	(void) json_object_set_new(ret, "thumbprint", json_string(buf_cstr(&thumbprint)));
	return 0;
}

static const struct {
	const char *name;
	int (*run)(Batch *b, const json_t *item, json_t *ret, Err *err);
} works[] = {
	{ "files", do_files },
	{ "local", do_local },
	{ "account", do_account },
};

static int do_item(Batch *b, const json_t *item, json_t *ret, Err *err)
{
	const char *what = text(item, "do");
	for (size_t i = 0; i < ARRAY_SIZE(works); i++)
		if (str_eq(works[i].name, what))
			return works[i].run(b, item, ret, err);
	return err_set(err, -EINVAL, "unknown work '%s'", what ? what : "");
}

int cert_work(const json_t *options, CertReportFn report, Err *err)
{
	Batch b = {
		.dir = text(options, "dir"), .ca_dir = text(options, "ca"), .box = text(options, "box"),
		.now = json_integer_value(json_object_get(options, "now")),
	};
	const json_t *items = json_object_get(options, "items");
	if (!b.dir || !b.ca_dir || !b.box || b.now <= 0)
		return err_set(err, -EINVAL, "incomplete options");
	(void) umask(077);
	int r = dir_make(b.dir, 0700);
	if (r < 0)
		return err_errno(err, r, "%s", b.dir);
	for (size_t i = 0; i < json_array_size(items); i++) {
		AUTO_ERR e = ERR_INIT;
		json_t *o = json_pack("{s:I}", "item", (json_int_t) i);
		r = do_item(&b, json_array_get(items, i), o, &e);
		if (r < 0) {
			/* A file name can be of any bytes; it came as JSON, so it is UTF-8, and what OpenSSL says is ASCII. */
			(void) json_object_set_new(o, "error", json_string(err_text(&e)));
			(void) json_object_set_new(o, "code", json_integer(r));
		}
		report(json_pack("{s:o}", "certificate", o));
	}
	cert_ca_done(&b.ca);
	return 0;
}
