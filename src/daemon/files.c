// SPDX-License-Identifier: Apache-2.0
/*
 * Configs and secrets are copied at each start, with the owner and mode that the file asks for: a bind
 * of the original would show the owner and mode of the host. They lie below the run directory, which is
 * a tmpfs. They come from the release's copies (release.h), so that what a container gets is what was
 * deployed, however the files have changed since.
 */
#include "daemon/files.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/container.h"
#include "daemon/deploy.h"
#include "daemon/network.h"
#include "daemon/release.h"
#include "net/resolv.h"
#include "run/bundle.h"
#include "run/container.h"

typedef struct Files {
	Container *c;
	ContainerPaths *paths;
	BundleMount *mounts;
	size_t n_mounts;
	char **owned; /* strings that the mounts borrow */
	char *hosts, *resolv_conf, *hostname_file;
} Files;

static void files_done(Files *f)
{
	free(f->mounts);
	strv_free(f->owned);
	free(f->hosts);
	free(f->resolv_conf);
	free(f->hostname_file);
}

/* Who shares a network has its names too: hosts, resolver and host name are those of the container whose it is. */
static const Container *named_after(const Container *c)
{
	const Container *owner = network_owner(c);
	return owner ? owner : c;
}

static const char *hostname_of(const Container *c, char dst[65])
{
	if (c->svc.hostname)
		return c->svc.hostname;
	c = named_after(c);
	if (c->svc.hostname)
		return c->svc.hostname;
	if (str_eq(c->svc.network_mode, "host") && gethostname(dst, 65) == 0)
		return dst;
	(void) snprintf(dst, 65, "%.12s", c->id);
	return dst;
}

static Container *container_of_service(const Container *c, const char *mode)
{
	return mode && str_starts(mode, "service:") ? ctr_partner(c, mode + strlen("service:")) : NULL;
}

/* "name=address", where the address may be "host-gateway": this host as the container sees it. */
static void write_extra_host(const Container *c, const char *pair, Buf *b)
{
	const char *eq = strchr(pair, '=');
	if (!eq)
		return;
	const char *address = eq + 1;
	if (str_eq(address, "host-gateway"))
		address = c->n_endpoints ? c->endpoints[0].net->gateway : "127.0.0.1";
	buf_printf(b, "%s\t%.*s\n", address, (int) (eq - pair), pair);
}

static int write_hosts(Files *f, const char *hostname, Err *err)
{
	const Container *c = named_after(f->c);
	AUTO_BUF b = BUF_INIT;
	if (str_eq(c->svc.network_mode, "host"))
		(void) file_read(AT_FDCWD, "/etc/hosts", LIMIT_CONFIG_FILE_BYTES, &b);
	else
		buf_str(&b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n"
			    "ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
	for (char **h = c->svc.extra_hosts; h && *h; h++)
		write_extra_host(c, *h, &b);
	for (size_t i = 0; i < c->n_endpoints; i++) {
		buf_printf(&b, "%s\t", c->endpoints[i].address);
		if (c->svc.domainname)
			buf_printf(&b, "%s.%s ", hostname, c->svc.domainname);
		buf_printf(&b, "%s\n", hostname);
	}
	return bundle_file_write(f->paths, "hosts", b.data, b.len, 0, 0, 0644, &f->hosts, err);
}

static int write_resolv_conf(Files *f, Err *err)
{
	const Container *c = named_after(f->c);
	const Service *svc = &c->svc;
	AUTO_BUF b = BUF_INIT;
	ResolvConf host = { 0 };
	char text[ADDR_TEXT_MAX];
	(void) resolv_read(NULL, &host, NULL);
	if (c->n_endpoints) {
		buf_str(&b, "nameserver 127.0.0.11\n");
	} else if (svc->dns) {
		for (char **s = svc->dns; *s; s++)
			buf_printf(&b, "nameserver %s\n", *s);
	} else if (!str_eq(svc->network_mode, "none")) {
		for (size_t i = 0; i < host.n_servers; i++)
			buf_printf(&b, "nameserver %s\n", addr_text(&host.servers[i], text));
	}
	char **search = svc->dns_search ? svc->dns_search : host.search;
	if (search && *search && !str_eq(*search, ".")) {
		buf_str(&b, "search");
		for (char **s = search; *s; s++)
			buf_printf(&b, " %s", *s);
		buf_char(&b, '\n');
	}
	AUTO_BUF options = BUF_INIT;
	bool ndots = false;
	for (char **o = svc->dns_opt; o && *o; o++) {
		buf_printf(&options, " %s", *o);
		ndots = ndots || str_starts(*o, "ndots:");
	}
	if (c->n_endpoints && !ndots)
		buf_str(&options, " ndots:0");
	if (options.len)
		buf_printf(&b, "options%s\n", options.data);
	resolv_done(&host);
	return bundle_file_write(f->paths, "resolv.conf", b.data, b.len, 0, 0, 0644, &f->resolv_conf, err);
}

/* ── configs and secrets ──────────────────────────────────────────── */

/* `d` NULL: the file as it is now, not the copy that a release has of it. */
static int read_source(const Daemon *d, const FileSource *src, const char *what, Buf *ret, Err *err)
{
	if (src->content) {
		buf_str(ret, src->content);
		return 0;
	}
	AUTO_FREE char *path = d ? release_file_path(d, src) : xstrdup(src->file);
	int r = file_read(AT_FDCWD, path, LIMIT_CONFIG_FILE_BYTES, ret);
	if (r == -EFBIG)
		return err_set(err, -EINVAL, "%s '%s': %s is larger than %u bytes", what, src->key, path, LIMIT_CONFIG_FILE_BYTES);
	if (r < 0)
		return err_set(err, -EINVAL, "%s '%s': %s: %s", what, src->key, path, strerror(-r));
	return 0;
}

static const FileSource *source_of(const Stack *model, const FileRef *ref, bool secret)
{
	return secret ? stack_secret(model, ref->source) : stack_config(model, ref->source);
}

static int check_refs(const Daemon *d, const Stack *model, const FileRef *refs, size_t n, bool secret, Err *err)
{
	for (size_t i = 0; i < n; i++) {
		AUTO_BUF b = BUF_INIT;
		const FileSource *src = source_of(model, &refs[i], secret);
		int r = src ? read_source(d, src, secret ? "secret" : "config", &b, err) : -EINVAL;
		if (r < 0)
			return r;
	}
	return 0;
}

int files_check(const Daemon *d, const Stack *model, const Service *svc, Err *err)
{
	int r = check_refs(d, model, svc->secrets, svc->n_secrets, true, err);
	return r < 0 ? r : check_refs(d, model, svc->configs, svc->n_configs, false, err);
}

static int number(const char *s, const char *key, const FileRef *ref, uint32_t *ret, Err *err)
{
	*ret = 0;
	if (s && parse_u32_max(s, UINT32_MAX - 1, ret) < 0)
		return err_set(err, -EINVAL, "'%s': %s: a number is expected, not '%s'", ref->source, key, s);
	return 0;
}

static int write_ref(Files *f, const Stack *model, const FileRef *ref, bool secret, size_t index, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	const FileSource *src = source_of(model, ref, secret);
	uint32_t uid, gid;
	char *path = NULL;
	if (!src)
		return err_set(err, -ENOENT, "%s '%s' is not there", secret ? "secret" : "config", ref->source);
	int r = read_source(f->c->d, src, secret ? "secret" : "config", &b, err);
	if (r == 0)
		r = number(ref->uid, "uid", ref, &uid, err);
	if (r == 0)
		r = number(ref->gid, "gid", ref, &gid, err);
	if (r < 0)
		return r;
	AUTO_FREE char *name = xasprintf("%s-%zu", secret ? "secret" : "config", index);
	r = bundle_file_write(f->paths, name, b.data ? b.data : "", b.len, uid, gid, ref->mode < 0 ? 0444 : (mode_t) ref->mode, &path,
		err);
	if (r < 0)
		return r;
	strv_take(&f->owned, path);
	BundleMount *m = array_append(f->mounts, f->n_mounts);
	*m = (BundleMount) { .type = MOUNT_BIND, .source = path, .target = ref->target, .read_only = true, .tmpfs_size = -1, .tmpfs_mode = -1 };
	return 0;
}

static void add_mounts(Files *f)
{
	const Container *c = f->c;
	for (size_t i = 0; i < c->n_binds; i++) {
		const Bind *b = &c->binds[i];
		BundleMount *m = array_append(f->mounts, f->n_mounts);
		*m = (BundleMount) {
			.type = b->type == MOUNT_TMPFS ? MOUNT_TMPFS : MOUNT_BIND,
			.source = b->source,
			.target = b->target,
			.read_only = b->read_only,
			.tmpfs_size = -1,
			.tmpfs_mode = -1,
		};
		for (size_t k = 0; k < c->svc.n_mounts; k++) {
			const Mount *wish = &c->svc.mounts[k];
			if (!str_eq(wish->target, b->target))
				continue;
			m->propagation = wish->propagation;
			m->tmpfs_size = wish->tmpfs_size;
			m->tmpfs_mode = wish->tmpfs_mode;
		}
	}
}

/* ── the bundle ───────────────────────────────────────────────────── */

/* Path of a namespace of another container of the stack, which must run. */
static int borrow_namespace(Files *f, const char *key, const char *mode, const char *kind, const char **ret, Err *err)
{
	Container *other = container_of_service(f->c, mode);
	if (!other || !other->pid)
		return err_set(err, -ENOENT, "%s: %s: no container of that service runs", key, mode);
	char *path = xasprintf("/proc/%d/%s", other->pid, kind);
	strv_take(&f->owned, path);
	*ret = path;
	return 0;
}

/* Is it, or will it be, the one whose ipc another service uses? */
static bool lends_ipc(const Container *c)
{
	const Stack *model = deploy_model(c);
	if (str_eq(c->svc.ipc, "shareable"))
		return true;
	for (size_t i = 0; model && i < model->n_services; i++) {
		const char *ipc = model->services[i].ipc;
		if (ipc && str_starts(ipc, "service:") && str_eq(ipc + strlen("service:"), c->svc.name))
			return true;
	}
	return false;
}

static int borrow_shm(Files *f, BundleSpec *spec, Err *err)
{
	const Container *other = container_of_service(f->c, f->c->svc.ipc);
	char *path = other ? shm_path(other->paths) : NULL;
	if (!path)
		return err_set(err, -ENOENT, "ipc: %s: container %s was started before anybody asked for its ipc; restart it (stead restart %s)",
			f->c->svc.ipc, other ? other->name : "?", other ? other->svc.name : "");
	strv_take(&f->owned, path);
	spec->shm_source = path;
	return 0;
}

static int namespaces(Files *f, BundleSpec *spec, Err *err)
{
	const Container *c = f->c;
	int r = 0;
	spec->netns = c->netns;
	if (c->svc.network_mode && str_starts(c->svc.network_mode, "service:")) {
		const Container *other = network_owner(c);
		if (!other)
			return err_set(err, -ENOENT, "network_mode: %s: no container of that service is there", c->svc.network_mode);
		if (!other->netns && !str_eq(other->svc.network_mode, "host"))
			return err_set(err, -ENOENT, "network_mode: %s: container %s has no network; it must run", c->svc.network_mode,
				other->name);
		spec->netns = other->netns;
	}
	if (str_eq(c->svc.pid, "host"))
		spec->pidns = "host";
	else if (c->svc.pid)
		r = borrow_namespace(f, "pid", c->svc.pid, "ns/pid", &spec->pidns, err);
	if (r < 0)
		return r;
	if (str_eq(c->svc.ipc, "host")) {
		spec->ipcns = "host";
	} else if (c->svc.ipc && str_starts(c->svc.ipc, "service:")) {
		r = borrow_namespace(f, "ipc", c->svc.ipc, "ns/ipc", &spec->ipcns, err);
		if (r == 0)
			r = borrow_shm(f, spec, err);
	} else if (lends_ipc(c)) {
		char *path;
		r = shm_mount(c->paths, c->svc.shm_size, &path, err);
		if (r == 0) {
			strv_take(&f->owned, path);
			spec->shm_source = path;
		}
	}
	return r;
}

int files_write_bundle(Container *c, char ***warnings, Err *err)
{
	char buffer[65];
	const char *hostname = hostname_of(c, buffer);
	const Stack *model = deploy_model(c);
	const Image *img = daemon_image_by_id(c->d, c->image_id);
	Files f __attribute__((cleanup(files_done))) = { .c = c, .paths = c->paths };
	if (!img)
		return err_set(err, -ENOENT, "its image %s is not here any more", c->image_id);
	add_mounts(&f);
	int r = 0;
	for (size_t i = 0; r == 0 && model && i < c->svc.n_secrets; i++)
		r = write_ref(&f, model, &c->svc.secrets[i], true, i, err);
	for (size_t i = 0; r == 0 && model && i < c->svc.n_configs; i++)
		r = write_ref(&f, model, &c->svc.configs[i], false, i, err);
	if (r == 0)
		r = write_hosts(&f, hostname, err);
	if (r == 0)
		r = write_resolv_conf(&f, err);
	AUTO_FREE char *line = xasprintf("%s\n", hostname);
	if (r == 0)
		r = bundle_file_write(f.paths, "hostname", line, strlen(line), 0, 0, 0644, &f.hostname_file, err);
	BundleSpec spec = {
		.runtime = c->d->runtime,
		.paths = c->paths,
		.service = &c->svc,
		.image = img,
		.hostname = str_eq(c->svc.uts, "host") ? NULL : hostname,
		.domainname = c->svc.domainname,
		.hosts = f.hosts,
		.resolv_conf = f.resolv_conf,
		.hostname_file = f.hostname_file,
		.mounts = f.mounts,
		.n_mounts = f.n_mounts,
	};
	if (r == 0)
		r = namespaces(&f, &spec, err);
	return r == 0 ? bundle_write(&spec, warnings, err) : r;
}
