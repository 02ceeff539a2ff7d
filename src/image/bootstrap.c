// SPDX-License-Identifier: Apache-2.0
/*
 * The base is recorded in cache/base-KEY.json, KEY being the suite, the architecture and a hash of the apt
 * sources; a lock beside it lets two bootstraps of the same base make it once. Packages are installed in an
 * overlay mount of the base whose upper directory then is the layer, as overlayfs left it (pack.c).
 *
 * Everything is mounted in this process's own mount namespace and every program runs enclosed (command.h), so a
 * worker that is killed leaves files under tmp/ and nothing else. Packages are fetched first, with the network; they
 * are installed without one, so that what is in an image does not depend on what a maintainer script could reach.
 */
#include "image/bootstrap.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "image/apt.h"
#include "image/bootstrap-apt.h"
#include "image/command.h"
#include "image/manifest.h"
#include "image/pack.h"
#include "image/reference.h"
#include "image/rootfs.h"

#define BASE_AGE_MAX (30LL * 24 * 3600 * NSEC_PER_SEC)
#define RECIPE_VERSION "1" /* changes whenever what is in a base does */

typedef struct Bootstrap {
	Store *store;
	const ImageSpec *spec;
	const char *debian_arch;
	char *suite;
	AptSources sources;
	char *key;     /* SUITE-ARCH-HASH */
	char *work;    /* name under tmp/ of what is being made; NULL = nothing */
	char *dir;     /* its absolute path */
	char base_id[sizeof(DIGEST_PREFIX) + 64];
	LayerInfo base_info;
	char *base_image; /* digest of its configuration, or NULL */
} Bootstrap;

/* Checks. */

static int check_programs(Err *err)
{
	if (geteuid() != 0)
		return err_set(err, -EPERM, "making images from packages needs root");
	if (!command_exists("mmdebstrap"))
		return err_set(err, -ENOENT, "mmdebstrap is missing: install it with 'apt-get install mmdebstrap'");
	return 0;
}

/* Can programs of `arch` run here? By the processor itself, or through qemu and binfmt_misc. */
static int check_arch(const char *arch, const char *debian_arch, Err *err)
{
	static const struct {
		const char *go, *qemu;
	} emulators[] = {
		{ "amd64", "x86_64" }, { "arm64", "aarch64" }, { "arm", "arm" }, { "386", "i386" }, { "ppc64le", "ppc64le" },
		{ "s390x", "s390x" }, { "riscv64", "riscv64" },
	};
	const char *host = platform_host(NULL);
	if (str_eq(host, arch) || (str_eq(host, "amd64") && str_eq(arch, "386")))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(emulators); i++) {
		AUTO_FREE char *rule = xasprintf("/proc/sys/fs/binfmt_misc/qemu-%s", emulators[i].qemu);
		if (str_eq(emulators[i].go, arch) && access(rule, F_OK) == 0 && command_exists("arch-test"))
			return 0;
	}
	if (command_exists("arch-test")) {
		const char *argv[] = { "arch-test", "-n", debian_arch, NULL };
		AUTO_BUF out = BUF_INIT;
		if (command_output(argv, &out) == 0)
			return 0;
	}
	return err_set(err, -ENOTSUP,
		"programs for %s cannot run on this %s machine: install the emulator with "
		"'apt-get install qemu-user-static binfmt-support arch-test'",
		debian_arch, host);
}

/* The work directory. */

static void drop_work(Bootstrap *b)
{
	if (b->work)
		(void) tree_remove(b->store->tmp, b->work);
	free_and_null(&b->work);
	free_and_null(&b->dir);
}

static int begin_work(Bootstrap *b, Err *err)
{
	int r = store_stage_begin(b->store, &b->work, err);
	if (r < 0)
		return r;
	b->dir = xasprintf("%s/tmp/%s", b->store->path, b->work);
	/* apt's unprivileged user goes through here from inside the root. */
	return chmod(b->dir, 0755) < 0 ? err_errno(err, -errno, "%s", b->dir) : 0;
}

/* root/ becomes a staged layer. */
static int stage_root(Bootstrap *b, int lowerfd, int64_t clamp, char diff_id[sizeof(DIGEST_PREFIX) + 64], LayerInfo *info, Err *err)
{
	AUTO_FREE char *root = xasprintf("%s/root", b->dir);
	AUTO_FREE char *file = xasprintf("%s/recipe", b->dir);
	AUTO_CLOSE int rootfd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	LayerInfo there;
	if (rootfd < 0 || fd < 0)
		return store_write_failed(b->store, -errno, file, err);
	RecipeWriter *w __attribute__((cleanup(recipe_writer_freep))) = recipe_writer_new(fd);
	int r = pack_layer(rootfd, lowerfd, clamp, w, diff_id, info, err);
	if (r < 0 || (r = recipe_finish(w, err)) < 0)
		return r;
	r = store_layer(b->store, diff_id, &there, err);
	if (r != 0) /* the same packages gave the same layer: it is here */
		return r < 0 ? r : 0;
	free_and_null(&b->dir);
	return store_stage_made(b->store, steal_ptr(&b->work), diff_id, info, err);
}

/* The base. */

static char *base_record(const Bootstrap *b, const char *suffix)
{
	return xasprintf("%s/cache/base-%s%s", b->store->path, b->key, suffix);
}

/* 1: there is one, young enough. */
static int find_base(Bootstrap *b, Err *err)
{
	AUTO_FREE char *path = base_record(b, ".json");
	AUTO_BUF text = BUF_INIT;
	if (file_read(AT_FDCWD, path, 65536, &text) < 0)
		return 0;
	json_t *o = json_loadb(text.data, text.len, 0, NULL);
	const char *id = json_string_value(json_object_get(o, "diff_id"));
	const char *image = json_string_value(json_object_get(o, "image"));
	int64_t made = json_integer_value(json_object_get(o, "made")), now = time_real();
	int r = 0;
	if (digest_valid(id) && made <= now && now - made < BASE_AGE_MAX) {
		memcpy(b->base_id, id, sizeof(b->base_id));
		str_set(&b->base_image, digest_valid(image) ? image : NULL);
		r = store_layer(b->store, id, &b->base_info, err);
	}
	json_decref(o);
	return r;
}

static int write_record(Bootstrap *b, Err *err)
{
	AUTO_FREE char *path = base_record(b, ".json");
	json_t *o = json_pack("{s:s, s:s*, s:I}", "diff_id", b->base_id, "image", b->base_image, "made", (json_int_t) time_real());
	AUTO_FREE char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	int r = text ? file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, true) : -EINVAL;
	return r < 0 ? store_write_failed(b->store, r, path, err) : 0;
}

static void on_mmdebstrap(void *user, const char *line)
{
	/* "I: running apt-get update..."; it also tells of its own processes. */
	if (strstr(line, "main()") || strstr(line, "cleanup"))
		return;
	if (str_starts(line, "I: ") || str_starts(line, "W: "))
		report_progress("base: %s", line + 3);
}

static int run_mmdebstrap(Bootstrap *b, const char *aptdir, Err *err)
{
	AUTO_FREE char *root = xasprintf("%s/root", b->dir);
	AUTO_FREE char *arch = xasprintf("--architectures=%s", b->debian_arch);
	AUTO_FREE char *aptopt = xasprintf("--aptopt=%s/acquire.conf", aptdir);
	AUTO_FREE char *keyring = xasprintf("--keyring=%s/trusted.d", aptdir);
	AUTO_BUF list = BUF_INIT;
	const char *argv[] = {
		"mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", arch, aptopt, keyring,
		"--aptopt=APT::Sandbox::User \"root\"", "--aptopt=Acquire::Languages \"none\"", "--dpkgopt=force-unsafe-io",
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-include=/usr/share/man/man?", "--dpkgopt=path-exclude=/usr/share/info/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-include=/usr/share/locale/locale.alias",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
		"--dpkgopt=path-exclude=/usr/share/lintian/*", "--skip=cleanup/apt/lists", b->suite, root, "-", NULL,
	};
	apt_write_list(&b->sources, aptdir, &list);
	CommandOptions o = { .enclosed = true, .input = buf_cstr(&list), .line = on_mmdebstrap };
	return command_run(argv, &o, err);
}

static int make_base(Bootstrap *b, Err *err)
{
	AUTO_FREE char *aptdir = NULL;
	int r = begin_work(b, err);
	if (r < 0)
		return r;
	aptdir = xasprintf("%s/apt", b->dir);
	AUTO_FREE char *root = xasprintf("%s/root", b->dir);
	report_progress("base: making %s for %s, once", b->suite, b->debian_arch);
	if ((r = apt_dir_make(aptdir, &b->sources, err)) < 0 || (r = run_mmdebstrap(b, aptdir, err)) < 0)
		return err_wrap(err, "base %s for %s", b->suite, b->debian_arch);
	apt_dir_take_lists(aptdir, root);
	apt_dir_publish(aptdir, b->store->path, b->key);
	int64_t clamp = apt_dir_time(aptdir);
	AUTO_CLOSE int rootfd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rootfd < 0)
		return err_errno(err, -errno, "%s", root);
	if ((r = rootfs_finish_base(rootfd, &b->sources, err)) < 0)
		return r;
	report_progress("base: packing");
	if ((r = stage_root(b, -1, clamp, b->base_id, &b->base_info, err)) < 0)
		return r;
	drop_work(b);
	return 0;
}

/* The base as an image of its own: it keeps the layer from being swept, and can be run. */
static int base_image(Bootstrap *b, ImageList *ret, Err *err)
{
	AUTO_FREE char *name = xasprintf("docker.io/stead/base:%s-%s", b->suite, b->debian_arch);
	AUTO_BUF config = BUF_INIT;
	Image *image = NULL;
	const char *ids[] = { b->base_id };
	char *cmd[] = { (char *) "/bin/bash", NULL };
	ImageSpec spec = { .name = name, .arch = b->spec->arch, .variant = b->spec->variant, .cmd = cmd };
	int r = -ENOENT;
	if (b->base_image && store_read_blob(b->store, b->base_image, &config, NULL) == 0)
		r = image_from_config(buf_cstr(&config), config.len, &image, NULL);
	if (r < 0) {
		AUTO_FREE char *how = xasprintf("stead image bootstrap (base of %s)", b->suite);
		if ((r = image_spec_build(&spec, ids, 1, how, &image, err)) < 0 ||
			(r = store_stage_blob(b->store, image->config_json, strlen(image->config_json), NULL, err)) < 0) {
			image_free(image);
			return r;
		}
		str_set(&b->base_image, image->id);
	}
	image->layers[0].size = image->size = b->base_info.size;
	strv_add(&image->tags, name);
	*array_append(ret->items, ret->n) = image;
	return 0;
}

static int need_base(Bootstrap *b, ImageList *ret, Err *err)
{
	AUTO_FREE char *path = base_record(b, ".lock");
	AUTO_CLOSE int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0)
		return store_write_failed(b->store, -errno, path, err);
	if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		report_progress("base: another worker is making it; waiting");
		if (flock(lock, LOCK_EX) < 0)
			return err_errno(err, -errno, "%s", path);
	}
	int r = find_base(b, err);
	if (r == 1)
		report_progress("base: %s for %s is here", b->suite, b->debian_arch);
	if (r == 0)
		r = make_base(b, err);
	if (r < 0 || (r = base_image(b, ret, err)) < 0 || (r = store_commit(b->store, err)) < 0)
		return r;
	return write_record(b, err);
}

/* Packages on top. */

static void on_apt(void *user, const char *line)
{
	static const char *const shown[] = { "Get:", "Unpacking ", "Setting up ", "Processing triggers ", "Need to get " };
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
		if (str_starts(line, shown[i]))
			report_progress("%s", line);
}

static int apt_get(const char *root, bool network, const char *const *args, char *const *packages, Err *err)
{
	const char *argv[1100] = { "/usr/bin/apt-get", "-q" };
	size_t n = 2;
	while (*args)
		argv[n++] = *args++;
	for (; packages && *packages && n + 1 < ARRAY_SIZE(argv); packages++)
		argv[n++] = *packages;
	CommandOptions o = {
		.root = root, .enclosed = true, .no_network = !network, .apt_config = APT_DIR_INSIDE "/apt.conf", .line = on_apt,
	};
	return command_run(argv, &o, err);
}

static int install(Bootstrap *b, const char *root, const char *aptdir, bool *ret_fresh, Err *err)
{
	static const char *const update[] = { "update", NULL };
	static const char *const fetch[] = { "install", "--download-only", "--", NULL };
	static const char *const install_args[] = { "install", "--no-download", "--", NULL };
	AUTO_ERR first = ERR_INIT;
	int r = 0;
	if (!*ret_fresh) {
		report_progress("updating the package lists");
		r = apt_get(root, true, update, NULL, err);
		*ret_fresh = r == 0;
		if (r < 0)
			return r;
		apt_dir_touch(aptdir);
	}
	r = apt_get(root, true, fetch, b->spec->packages, &first);
	/* Lists that were fresh enough to keep may name packages that the mirror has replaced since. */
	if (r < 0 && apt_dir_reused(aptdir)) {
		report_progress("updating the package lists");
		if ((r = apt_get(root, true, update, NULL, err)) < 0)
			return r;
		apt_dir_touch(aptdir);
		err_done(&first);
		r = apt_get(root, true, fetch, b->spec->packages, &first);
	}
	if (r < 0)
		return err_move(err, &first);
	report_progress("installing");
	return apt_get(root, false, install_args, b->spec->packages, err);
}

static int mount_overlay(Bootstrap *b, const char *merged, Err *err)
{
	char layer[33];
	layer_dir_name(b->base_id, layer);
	AUTO_FREE char *work = xasprintf("%s/work", b->dir);
	if (mkdir(work, 0700) < 0 || mkdir(merged, 0755) < 0)
		return store_write_failed(b->store, -errno, work, err);
	/* redirect_dir, metacopy: would leave references to the base in the layer. volatile: dpkg syncs much, we sync once. */
	static const char *const extras[] = { ",metacopy=off,volatile", ",metacopy=off", "" };
	int r = 0;
	for (size_t i = 0; i < ARRAY_SIZE(extras); i++) {
		AUTO_FREE char *options = xasprintf("lowerdir=%s/layers/%s,upperdir=%s/root,workdir=%s,redirect_dir=off,index=off%s",
			b->store->path, layer, b->dir, work, extras[i]);
		if (mount("overlay", merged, "overlay", 0, options) == 0)
			return 0;
		r = -errno;
	}
	return err_errno(err, r, "mounting an overlay on %s", merged);
}

static int add_packages(Bootstrap *b, Err *err)
{
	AUTO_FREE char *merged = xasprintf("%s/merged", b->dir);
	AUTO_FREE char *aptdir = xasprintf("%s/apt", b->dir);
	AUTO_ERR after = ERR_INIT;
	Guest guest = { 0 };
	bool fresh = false;
	int r = apt_dir_make(aptdir, &b->sources, err);
	if (r < 0 || (r = mount_overlay(b, merged, err)) < 0)
		return r;
	fresh = apt_dir_reuse(aptdir, b->store->path, b->key);
	r = rootfs_enter(merged, aptdir, &guest, err);
	if (r == 0)
		r = install(b, merged, aptdir, &fresh, err) < 0 ? err_wrap(err, "installing packages") : 0;
	int left = rootfs_leave(&guest, &after);
	if (r == 0 && left < 0)
		r = err_move(err, &after);
	if (r == 0)
		r = rootfs_clean(merged, err);
	if (umount2(merged, r < 0 ? MNT_DETACH : 0) < 0 && r == 0)
		r = err_errno(err, -errno, "unmounting %s", merged);
	if (r == 0)
		apt_dir_publish(aptdir, b->store->path, b->key);
	return r;
}

static int make_image(Bootstrap *b, ImageList *ret, Err *err)
{
	char diff_id[sizeof(DIGEST_PREFIX) + 64];
	LayerInfo info = { 0 };
	Image *image = NULL;
	const char *ids[2] = { b->base_id, diff_id };
	size_t n = 1;
	int r;
	if (b->spec->packages) {
		if ((r = begin_work(b, err)) < 0 || (r = add_packages(b, err)) < 0)
			return r;
		AUTO_FREE char *aptdir = xasprintf("%s/apt", b->dir);
		AUTO_CLOSE int base = store_open_layer(b->store, b->base_id, err);
		if (base < 0)
			return base;
		report_progress("packing");
		if ((r = stage_root(b, base, apt_dir_time(aptdir), diff_id, &info, err)) < 0)
			return r;
		drop_work(b);
		n = 2;
	}
	AUTO_BUF how = BUF_INIT;
	buf_str(&how, "stead image bootstrap");
	for (char **p = b->spec->packages; p && *p; p++)
		buf_printf(&how, " %s", *p);
	if ((r = image_spec_build(b->spec, ids, n, buf_cstr(&how), &image, err)) < 0)
		return r;
	image->layers[0].size = b->base_info.size;
	if (n == 2)
		image->layers[1].size = info.size;
	image->size = b->base_info.size + info.size;
	strv_add(&image->tags, b->spec->name);
	*array_append(ret->items, ret->n) = image;
	if ((r = store_stage_blob(b->store, image->config_json, strlen(image->config_json), NULL, err)) < 0)
		return r;
	return store_commit(b->store, err);
}

static void bootstrap_done(Bootstrap *b)
{
	drop_work(b);
	apt_sources_done(&b->sources);
	free(b->suite);
	free(b->key);
	free(b->base_image);
}

static int prepare(Bootstrap *b, Err *err)
{
	const ImageSpec *spec = b->spec;
	int r = check_programs(err);
	if (r < 0)
		return r;
	b->debian_arch = platform_debian(spec->arch, spec->variant);
	if (!b->debian_arch)
		return err_set(err, -EINVAL, "the distribution has no architecture for %s", spec->arch);
	if ((r = check_arch(spec->arch, b->debian_arch, err)) < 0 ||
		(r = apt_host_sources(spec->suite, spec->mirror, &b->sources, &b->suite, err)) < 0)
		return r;
	char hex[DIGEST_HEX_MAX];
	AUTO_BUF list = BUF_INIT;
	buf_str(&list, RECIPE_VERSION "\n");
	apt_write_list(&b->sources, NULL, &list);
	digest_sha256(list.data, list.len, hex);
	b->key = xasprintf("%s-%s-%.12s", b->suite, b->debian_arch, hex);
	AUTO_FREE char *cache = xasprintf("%s/cache", b->store->path);
	if ((r = dir_make(cache, 0700)) < 0)
		return store_write_failed(b->store, r, cache, err);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(err, -errno, "making a mount namespace");
	return 0;
}

int bootstrap_image(Store *s, const ImageSpec *spec, ImageList *ret, Err *err)
{
	AUTO(bootstrap_done) Bootstrap b = { .store = s, .spec = spec };
	AUTO_IMAGE_LIST out = { 0 };
	int r = prepare(&b, err);
	if (r < 0 || (r = need_base(&b, &out, err)) < 0 || (r = make_image(&b, &out, err)) < 0)
		return r;
	/* What was asked for comes first. */
	Image *base = out.items[0];
	out.items[0] = out.items[1];
	out.items[1] = base;
	*ret = out;
	out = (ImageList) { 0 };
	return 0;
}
