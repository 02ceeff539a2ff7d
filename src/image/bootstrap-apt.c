// SPDX-License-Identifier: Apache-2.0
#include "image/bootstrap-apt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define KEY_MAX (4U << 20)
#define LISTS_FRESH 3600 /* seconds for which package lists are used without asking the mirror */
#define CA_BUNDLE "/etc/ssl/certs/ca-certificates.crt"

static int put_file(const char *dir, const char *name, const char *text, size_t n, Err *err)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
	int r = file_write(AT_FDCWD, path, text, n, 0644);
	return r < 0 ? err_errno(err, r, "%s", path) : 0;
}

/* Reads through symlinks: keys and resolv.conf often are some. */
static int copy_file(const char *from, const char *dir, const char *name, Err *err)
{
	AUTO_BUF b = BUF_INIT;
	int r = file_read(AT_FDCWD, from, KEY_MAX, &b);
	if (r < 0)
		return err_errno(err, r, "%s", from);
	return put_file(dir, name, buf_cstr(&b), b.len, err);
}

static int put_keys(const char *dir, const AptSources *s, Err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < s->n; i++) {
		const AptSource *a = &s->items[i];
		AUTO_FREE char *name = xasprintf("key-%zu.%s", i, a->key || (a->signed_by && str_ends(a->signed_by, ".asc")) ? "asc" : "gpg");
		if (a->key)
			r = put_file(dir, name, a->key, strlen(a->key), err);
		else if (a->signed_by)
			r = copy_file(a->signed_by, dir, name, err);
	}
	return r;
}

/* Keys for sources that name none: what the host's apt trusts, and the distributions' own keyrings. */
static void put_trusted(const char *dir)
{
	static const char *const keyrings[] = {
		"debian-archive-keyring.gpg", "ubuntu-archive-keyring.gpg", "raspbian-archive-keyring.gpg",
		"raspberrypi-archive-keyring.gpg",
	};
	AUTO_FREE char *trusted = xasprintf("%s/trusted.d", dir);
	for (size_t i = 0; i < ARRAY_SIZE(keyrings); i++) {
		AUTO_FREE char *path = xasprintf("/usr/share/keyrings/%s", keyrings[i]);
		if (access(path, R_OK) == 0)
			(void) copy_file(path, trusted, keyrings[i], NULL);
	}
	if (access("/etc/apt/trusted.gpg", R_OK) == 0)
		(void) copy_file("/etc/apt/trusted.gpg", trusted, "trusted.gpg", NULL);
	DIR *d = opendir("/etc/apt/trusted.gpg.d");
	struct dirent *e;
	while (d && (e = readdir(d))) {
		AUTO_FREE char *path = xasprintf("/etc/apt/trusted.gpg.d/%s", e->d_name);
		if (str_ends(e->d_name, ".gpg") || str_ends(e->d_name, ".asc"))
			(void) copy_file(path, trusted, e->d_name, NULL);
	}
	if (d)
		(void) closedir(d);
}

static int put_configuration(const char *dir, const AptSources *s, Err *err)
{
	AUTO_BUF acquire = BUF_INIT;
	AUTO_BUF inside = BUF_INIT;
	AUTO_BUF list = BUF_INIT;
	apt_host_acquire(&acquire);
	buf_str(&inside,
		"Dir::State::Lists \"" APT_DIR_INSIDE "/lists\";\n"
		"Dir::Cache \"" APT_DIR_INSIDE "/cache\";\n"
		"Dir::Etc::SourceList \"" APT_DIR_INSIDE "/sources.list\";\n"
		"Dir::Etc::SourceParts \"/dev/null\";\n"
		"Dir::Etc::TrustedParts \"" APT_DIR_INSIDE "/trusted.d\";\n"
		"APT::Install-Recommends \"false\";\n"
		"APT::Install-Suggests \"false\";\n"
		"APT::Get::Assume-Yes \"true\";\n"
		"APT::Keep-Downloaded-Packages \"true\";\n"
		"Acquire::Languages \"none\";\n"
		"DPkg::Use-Pty \"false\";\n"
		"DPkg::Options { \"--force-unsafe-io\"; \"--force-confdef\"; \"--force-confold\"; };\n");
	buf_append(&inside, buf_cstr(&acquire), acquire.len);
	/* A base has no certificates; the host's serve for fetching. */
	if (access(CA_BUNDLE, R_OK) == 0 && !strstr(buf_cstr(&acquire), "CAInfo")) {
		int r = copy_file(CA_BUNDLE, dir, "ca.crt", err);
		if (r < 0)
			return r;
		buf_str(&inside, "Acquire::https::CAInfo \"" APT_DIR_INSIDE "/ca.crt\";\n");
	}
	apt_write_list(s, APT_DIR_INSIDE, &list);
	int r = put_file(dir, "acquire.conf", buf_cstr(&acquire), acquire.len, err);
	if (r < 0 || (r = put_file(dir, "apt.conf", buf_cstr(&inside), inside.len, err)) < 0)
		return r;
	return put_file(dir, "sources.list", buf_cstr(&list), list.len, err);
}

int apt_dir_make(const char *dir, const AptSources *sources, Err *err)
{
	static const char *const dirs[] = { "", "/trusted.d", "/lists", "/lists/partial", "/cache", "/cache/archives", "/cache/archives/partial" };
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO_FREE char *path = xasprintf("%s%s", dir, dirs[i]);
		if (mkdir(path, 0755) < 0)
			return err_errno(err, -errno, "%s", path);
	}
	int r = put_keys(dir, sources, err);
	if (r < 0)
		return r;
	put_trusted(dir);
	return put_configuration(dir, sources, err);
}

/* Links the files of one directory into another; with `replace`, also over those that are other files. */
static void link_files(const char *from, const char *to, const char *ending, bool replace)
{
	DIR *d = opendir(from);
	AUTO_CLOSE int dst = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	while (d && dst >= 0 && (e = readdir(d))) {
		struct stat a, b;
		if (str_eq(e->d_name, "lock") || !str_ends(e->d_name, ending) || fstatat(dirfd(d), e->d_name, &a, AT_SYMLINK_NOFOLLOW) < 0 ||
			!S_ISREG(a.st_mode))
			continue;
		if (linkat(dirfd(d), e->d_name, dst, e->d_name, 0) == 0 || errno != EEXIST || !replace)
			continue;
		if (fstatat(dst, e->d_name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino == b.st_ino)
			continue;
		/* By rename, so that a reader of the cache finds the old or the new file, never none. */
		char tmp[40] = ".new-";
		hex_random(16, tmp + 5);
		if (linkat(dirfd(d), e->d_name, dst, tmp, 0) == 0 && renameat(dst, tmp, dst, e->d_name) < 0)
			(void) unlinkat(dst, tmp, 0);
	}
	if (d)
		(void) closedir(d);
}

/* Files that the cache has and this run's lists have no longer. */
static void drop_stale(const char *cache, const char *lists)
{
	DIR *d = opendir(cache);
	AUTO_CLOSE int now = open(lists, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	while (d && now >= 0 && (e = readdir(d)))
		if (e->d_name[0] != '.' && faccessat(now, e->d_name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			(void) unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		(void) closedir(d);
}

bool apt_dir_reuse(const char *dir, const char *state_dir, const char *key)
{
	AUTO_FREE char *debs = xasprintf("%s/cache/apt/debs", state_dir);
	AUTO_FREE char *cached = xasprintf("%s/cache/apt/%s", state_dir, key);
	AUTO_FREE char *cached_lists = xasprintf("%s/lists", cached);
	AUTO_FREE char *archives = xasprintf("%s/cache/archives", dir);
	AUTO_FREE char *lists = xasprintf("%s/lists", dir);
	AUTO_FREE char *cache = xasprintf("%s/cache", dir);
	AUTO_FREE char *stamp = xasprintf("%s/updated", cached);
	AUTO_FREE char *mark = xasprintf("%s/reused", dir);
	struct stat st;
	link_files(debs, archives, ".deb", false);
	link_files(cached_lists, lists, "", false);
	link_files(cached, cache, ".bin", false);
	int64_t now = time_real() / NSEC_PER_SEC;
	if (stat(stamp, &st) < 0 || st.st_mtime > now || now - st.st_mtime > LISTS_FRESH)
		return false;
	return file_write(AT_FDCWD, mark, "", 0, 0600) == 0;
}

bool apt_dir_reused(const char *dir)
{
	AUTO_FREE char *mark = xasprintf("%s/reused", dir);
	return access(mark, F_OK) == 0;
}

void apt_dir_touch(const char *dir)
{
	AUTO_FREE char *mark = xasprintf("%s/reused", dir);
	AUTO_FREE char *stamp = xasprintf("%s/updated", dir);
	(void) unlink(mark);
	(void) file_write(AT_FDCWD, stamp, "", 0, 0600);
}

void apt_dir_take_lists(const char *dir, const char *root)
{
	AUTO_FREE char *from = xasprintf("%s/var/lib/apt/lists", root);
	AUTO_FREE char *to = xasprintf("%s/lists", dir);
	link_files(from, to, "", false);
	apt_dir_touch(dir);
}

void apt_dir_publish(const char *dir, const char *state_dir, const char *key)
{
	AUTO_FREE char *debs = xasprintf("%s/cache/apt/debs", state_dir);
	AUTO_FREE char *cached = xasprintf("%s/cache/apt/%s", state_dir, key);
	AUTO_FREE char *cached_lists = xasprintf("%s/lists", cached);
	AUTO_FREE char *archives = xasprintf("%s/cache/archives", dir);
	AUTO_FREE char *lists = xasprintf("%s/lists", dir);
	AUTO_FREE char *cache = xasprintf("%s/cache", dir);
	AUTO_FREE char *stamp = xasprintf("%s/updated", dir);
	AUTO_FREE char *cached_stamp = xasprintf("%s/updated", cached);
	if (dir_make(debs, 0700) < 0 || dir_make(cached_lists, 0700) < 0)
		return;
	link_files(archives, debs, ".deb", false);
	link_files(cache, cached, ".bin", true);
	if (access(stamp, F_OK) < 0)
		return;
	link_files(lists, cached_lists, "", true);
	drop_stale(cached_lists, lists);
	(void) file_write(AT_FDCWD, cached_stamp, "", 0, 0600);
}

int64_t apt_dir_time(const char *dir)
{
	AUTO_FREE char *lists = xasprintf("%s/lists", dir);
	DIR *d = opendir(lists);
	struct dirent *e;
	int64_t newest = 0;
	while (d && (e = readdir(d))) {
		struct stat st;
		/* apt gives a list the time that the server gave. */
		if (str_ends(e->d_name, "Release") && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime > newest)
			newest = st.st_mtime;
	}
	if (d)
		(void) closedir(d);
	return newest ? newest : time_real() / NSEC_PER_SEC;
}
