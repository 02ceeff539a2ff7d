// SPDX-License-Identifier: Apache-2.0
#include "cli/setup-box.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define VALUE_MAX 500
#define MISSING_MAX 200

/* Programs that the daemon runs, then the libraries of its own ones: "t64" is what Debian 13 and Ubuntu 24.04 call them. */
const char *const setup_packages[] = { "crun", "runc", "conmon", "nftables", "mmdebstrap", "haproxy", "nginx-light|nginx", "uacme", "openssl",
	"ca-certificates", "libuv1t64|libuv1", "libjansson4", "libfyaml0", "libsqlite3-0", "libmd0", "libmnl0", "libssl3t64|libssl3",
	"libcurl4t64|libcurl4", "zlib1g", "libzstd1", "liblzma5", "libbz2-1.0", "libseccomp2", "libhttp-parser2.9|libhttp-parser2.9t64", "libxxhash0", NULL };

void setup_box_done(SetupBox *b)
{
	char **const texts[] = { &b->id, &b->like, &b->version, &b->name, &b->machine, &b->arch, &b->user, &b->stead };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free_and_null(texts[i]);
	strv_free(b->missing);
	b->missing = NULL;
}

static SetupRoot root_of(const char *word)
{
	return str_eq(word, "yes") ? ROOT_IS : str_eq(word, "sudo") ? ROOT_SUDO : str_eq(word, "password") ? ROOT_PASSWORD : ROOT_NO;
}

static void take_value(SetupBox *b, const char *key, const char *value)
{
	const struct {
		const char *key;
		char **text;
	} texts[] = { { "id", &b->id }, { "like", &b->like }, { "version", &b->version }, { "name", &b->name }, { "machine", &b->machine },
		{ "arch", &b->arch }, { "user", &b->user }, { "stead", &b->stead } };
	const struct {
		const char *key;
		bool *flag;
	} flags[] = { { "systemd", &b->systemd }, { "active", &b->active }, { "group", &b->group }, { "member", &b->member } };
	uint64_t kb;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (str_eq(texts[i].key, key))
			str_set(texts[i].text, value);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (str_eq(flags[i].key, key))
			*flags[i].flag = str_eq(value, "yes");
	if (str_eq(key, "root"))
		b->root = root_of(value);
	else if (str_eq(key, "free") && parse_u64(value, &kb) == 0 && kb < 1ULL << 50)
		b->free = (int64_t) kb * 1024;
	else if (str_eq(key, "missing") && strv_len(b->missing) < MISSING_MAX)
		strv_add(&b->missing, value);
}

int setup_box_parse(const char *text, size_t n, SetupBox *ret, Err *err)
{
	AUTO_FREE char *copy = xstrndup(text, n);
	AUTO_BOX b = { .free = -1 };
	char **const texts[] = { &b.id, &b.like, &b.version, &b.name, &b.machine, &b.arch, &b.user, &b.stead };
	bool begun = false, ended = false;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		*texts[i] = xstrdup("");
	for (char *line = copy, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		char *value = strchr(line, '=');
		begun = begun || str_eq(line, "stead-setup=1");
		if (!begun || ended || !value || strlen(value) > VALUE_MAX || str_has_control(value) || !str_is_utf8(value, strlen(value)))
			continue;
		*value++ = '\0';
		ended = str_eq(line, "end");
		take_value(&b, line, value);
	}
	if (!begun || !ended)
		return err_set(err, -EPROTO, "the shell there did not run what it was given; is it a usual Linux account?");
	*ret = b;
	b = (SetupBox) { 0 };
	return 0;
}

/* The oldest releases whose C library and packages stead is made for. */
static const struct {
	const char *id;
	uint32_t major;
	const char *name;
} known[] = {
	{ "debian", 12, "Debian 12" },
	{ "raspbian", 12, "Raspberry Pi OS of 2023 (bookworm)" },
	{ "ubuntu", 22, "Ubuntu 22.04" },
};

static int check_release(const SetupBox *b, const char *where, Err *err)
{
	uint32_t major;
	AUTO_FREE char *number = xstrndup(b->version, strspn(b->version, "0123456789"));
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!str_eq(b->id, known[i].id))
			continue;
		/* Testing and unstable have no number. */
		if (*number && parse_u32_max(number, 1U << 20, &major) == 0 && major < known[i].major)
			return err_set(err, -ENOTSUP, "%s: %s is too old; stead needs %s or later", where, b->name, known[i].name);
		return 0;
	}
	/* Its relatives (Armbian, Linux Mint …) have releases of their own counting. */
	if (strstr(b->like, "debian") || strstr(b->like, "ubuntu"))
		return 0;
	return err_set(err, -ENOTSUP, "%s: this is %s; setup knows Debian, Ubuntu and Raspberry Pi OS. Elsewhere, build stead on the machine: "
		"'make install' in its sources", where, *b->name ? b->name : "no Linux that says its name");
}

int setup_box_check(const SetupBox *b, const char *where, Err *err)
{
	int r = check_release(b, where, err);
	if (r < 0)
		return r;
	if (!*b->arch)
		return err_set(err, -ENOTSUP, "%s: there is no dpkg, so nothing can be installed", where);
	if (!b->systemd)
		return err_set(err, -ENOTSUP, "%s: systemd does not run there (a container?); install by hand, and start 'stead daemon' from your own init", where);
	if (b->root == ROOT_NO)
		return err_set(err, -EACCES, "%s: %s is not root there, and there is no sudo; use ssh://root@…, or install sudo", where, b->user);
	if (b->free >= 0 && b->free < SETUP_FREE_MIN) {
		AUTO_FREE char *have = format_bytes(b->free), *need = format_bytes(SETUP_FREE_MIN);
		return err_set(err, -ENOSPC, "%s: only %s are free on /usr, and setup may need %s; make room first (apt-get clean)", where, have, need);
	}
	return 0;
}

void setup_box_plan(const SetupBox *b, const char *where, const char *version, Buf *out)
{
	buf_printf(out, "%s: %s, %s, as %s%s\n", where, *b->name ? b->name : b->id, b->arch, b->user,
		b->root == ROOT_IS ? "" : b->root == ROOT_SUDO ? " with sudo" : " with sudo, which asks for a password");
	if (b->missing) {
		buf_str(out, "  packages: install");
		for (char *const *p = b->missing; *p; p++) {
			const char *other = strchr(*p, '|'); /* its lists of packages are not there yet */
			buf_printf(out, "%s %.*s%s%s", p == b->missing ? "" : ",", (int) strcspn(*p, "|"), *p, other ? " or " : "", other ? other + 1 : "");
		}
		buf_str(out, "\n            (services that haproxy and nginx bring stay off)\n");
	} else {
		buf_str(out, "  packages: all there\n");
	}
	buf_printf(out, "  programs: stead %s, with man page and completion for bash", version);
	if (*b->stead)
		buf_printf(out, " (there is: %s)", b->stead);
	buf_printf(out, "\n  group:    %s", b->group ? "stead is there" : "make stead");
	if (b->root != ROOT_IS)
		buf_printf(out, b->member ? ", %s is in it" : ", add %s to it", b->user);
	buf_printf(out, "\n  service:  %s\n", b->active ? "stead.service runs; restart it where it changes (containers run on)" : "enable and start stead.service");
}

const char *setup_elf_arch(const uint8_t *p, size_t n)
{
	static const struct {
		uint16_t machine;
		uint8_t class;
		const char *arch;
	} kinds[] = {
		{ EM_X86_64, ELFCLASS64, "amd64" }, { EM_AARCH64, ELFCLASS64, "arm64" }, { EM_ARM, ELFCLASS32, "armhf" }, { EM_386, ELFCLASS32, "i386" },
		{ EM_RISCV, ELFCLASS64, "riscv64" }, { EM_PPC64, ELFCLASS64, "ppc64el" }, { EM_S390, ELFCLASS64, "s390x" },
	};
	if (n < 20 || memcmp(p, ELFMAG, SELFMAG) != 0)
		return NULL;
	uint16_t machine = p[EI_DATA] == ELFDATA2MSB ? (uint16_t) (p[18] << 8 | p[19]) : (uint16_t) (p[19] << 8 | p[18]);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].machine == machine && kinds[i].class == p[EI_CLASS])
			return kinds[i].arch;
	return NULL;
}
