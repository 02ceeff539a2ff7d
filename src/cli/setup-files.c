// SPDX-License-Identifier: Apache-2.0
#include "cli/setup-files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/setup-box.h"

#define BLOCK 512
#define PROGRAM_MAX (256U << 20)

static const char install_script[] =
#include "cli/setup-install.inc"
	;
static const char unit[] =
#include "cli/stead-service.inc"
	;
static const char man_page[] =
#include "cli/stead-man.inc"
	;
static const char completion[] =
#include "cli/stead-bash.inc"
	;

const char *const setup_helpers[] = { "stead-cache", "stead-crun", "stead-exec", "stead-fetch", "stead-init", "stead-names", "stead-notify",
	"stead-seccomp", "stead-worker", NULL };

/* Below a given directory: the programs alone, an installed tree, what DESTDIR made, a build directory. */
static const char *const places[] = { "", "bin/", "libexec/stead/", "usr/local/bin/", "usr/local/libexec/stead/", "usr/bin/", "usr/libexec/stead/",
	"src/main/", "src/run/", "src/edge/", "src/fetch/", "src/notify/", "src/worker/", "src/names/" };

/* n - 1 digits; the field is zeroed. */
static void put_octal(char *field, size_t n, uint64_t value)
{
	for (size_t i = n - 1; i-- > 0; value >>= 3)
		field[i] = (char) ('0' + (value & 7));
}

void setup_archive_file(Buf *out, const char *name, unsigned mode, const void *p, size_t n)
{
	static const char zeros[BLOCK];
	char h[BLOCK + 1] = "";
	unsigned sum = 0;
	assert(strlen(name) < 100);
	memcpy(h, name, strlen(name));
	put_octal(h + 100, 8, mode);
	put_octal(h + 108, 8, 0);
	put_octal(h + 116, 8, 0);
	put_octal(h + 124, 12, n);
	put_octal(h + 136, 12, 0);
	memset(h + 148, ' ', 8);
	h[156] = '0';
	memcpy(h + 257, "ustar\00000", 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char) h[i];
	put_octal(h + 148, 7, sum);
	h[154] = '\0';
	buf_append(out, h, BLOCK);
	buf_append(out, p, n);
	if (n % BLOCK)
		buf_append(out, zeros, BLOCK - n % BLOCK);
}

void setup_archive_end(Buf *out)
{
	static const char zeros[2 * BLOCK];
	buf_append(out, zeros, sizeof(zeros));
}

/* The directory that this program was built or installed to: with it, what belongs to it is found as in a directory that was given. */
static char *own_directory(void)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = '\0';
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(self, '/');
		if (!slash)
			return xstrdup("/");
		*slash = '\0';
	}
	/* …/build/src/main/stead, or PREFIX/bin/stead */
	if (str_ends(self, "/src"))
		self[strlen(self) - 4] = '\0';
	return xstrdup(*self ? self : "/");
}

static int read_program(const char *dir, const char *name, Buf *ret, Err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s%s", dir, places[i], name);
		int r = file_read(AT_FDCWD, path, PROGRAM_MAX, ret);
		if (r == 0)
			return 0;
		buf_clear(ret);
		if (r != -ENOENT && r != -ENOTDIR && r != -EISDIR)
			return err_errno(err, r, "cannot read %s", path);
	}
	return err_set(err, -ENOENT, "there is no program '%s' in %s; a build directory of stead has all of them, and so has what "
		"'make install DESTDIR=…' makes", name, dir);
}

static int add_program(const char *dir, bool given, const char *name, const char *entry, const char *arch, Buf *out, Err *err)
{
	AUTO_BUF content = BUF_INIT;
	int r = read_program(dir, name, &content, err);
	if (r < 0)
		return r;
	const char *is = setup_elf_arch((const uint8_t *) content.data, content.len);
	if (!is)
		return err_set(err, -ENOEXEC, "%s in %s is no program for Linux that setup knows", name, dir);
	if (!str_eq(is, arch) && !given)
		return err_set(err, -ENOEXEC, "the machine there is %s, and the programs here are %s: build stead on it, or on another %s machine, copy "
			"the build directory here, and name it with --binary-dir DIR", arch, is, arch);
	if (!str_eq(is, arch))
		return err_set(err, -ENOEXEC, "%s in %s is for %s, and the machine is %s", name, dir, is, arch);
	setup_archive_file(out, entry, 0755, content.data, content.len);
	return 0;
}

static void add_text(Buf *out, const char *name, const char *text)
{
	setup_archive_file(out, name, 0644, text, strlen(text));
}

int setup_archive(const char *dir, const char *arch, const char *user, Buf *ret, Err *err)
{
	static const char end[] = "/libexec/stead", libexec[] = STEAD_LIBEXECDIR;
	AUTO_FREE char *own = dir ? NULL : own_directory();
	AUTO_FREE char *prefix = xstrndup(libexec, sizeof(libexec) - sizeof(end));
	AUTO_BUF packages = BUF_INIT;
	const char *from = dir ? dir : own;
	int r = add_program(from, dir != NULL, "stead", "new/bin/stead", arch, ret, err);
	for (size_t i = 0; r == 0 && setup_helpers[i]; i++) {
		AUTO_FREE char *entry = xasprintf("new/libexec/%s", setup_helpers[i]);
		r = add_program(from, dir != NULL, setup_helpers[i], entry, arch, ret, err);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; setup_packages[i]; i++)
		buf_printf(&packages, "%s\n", setup_packages[i]);
	add_text(ret, "new/stead.service", unit);
	add_text(ret, "new/man/stead.1", man_page);
	add_text(ret, "new/completions/stead", completion);
	add_text(ret, "setup", install_script);
	add_text(ret, "packages", buf_cstr(&packages));
	add_text(ret, "prefix", prefix);
	add_text(ret, "user", user);
	setup_archive_end(ret);
	return 0;
}
