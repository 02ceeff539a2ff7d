// SPDX-License-Identifier: Apache-2.0
#include "daemon/box.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/json.h"
#include "model/image.h"

#define BINFMT_DIR "/proc/sys/fs/binfmt_misc"
#define PROC_FILE_MAX 65536
#define ELF_HEAD 20 /* up to the end of e_machine */

#ifndef EM_LOONGARCH
#define EM_LOONGARCH 258
#endif

static const char *elf_architecture(const uint8_t head[ELF_HEAD])
{
	static const struct {
		unsigned machine;
		uint8_t class, data; /* 0 = any */
		const char *name;
	} table[] = {
		{ EM_X86_64, ELFCLASS64, 0, "amd64" }, { EM_AARCH64, 0, ELFDATA2LSB, "arm64" }, { EM_ARM, 0, ELFDATA2LSB, "arm" },
		{ EM_386, 0, 0, "386" }, { EM_RISCV, ELFCLASS64, 0, "riscv64" }, { EM_PPC64, 0, ELFDATA2LSB, "ppc64le" },
		{ EM_S390, ELFCLASS64, 0, "s390x" }, { EM_MIPS, ELFCLASS64, ELFDATA2LSB, "mips64le" }, { EM_LOONGARCH, 0, 0, "loong64" },
	};
	unsigned low = head[18], high = head[19];
	unsigned machine = head[EI_DATA] == ELFDATA2MSB ? low << 8 | high : high << 8 | low;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].machine == machine && (!table[i].class || table[i].class == head[EI_CLASS]) &&
			(!table[i].data || table[i].data == head[EI_DATA]))
			return table[i].name;
	return NULL;
}

/* The rest of the line that begins with `key`; NULL without one. Of the caller. */
static char *line_of(const char *text, const char *key)
{
	size_t n = strlen(key);
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
		if (strncmp(line, key, n) == 0)
			return xstrndup(line + n, strcspn(line + n, "\n"));
	return NULL;
}

const char *box_emulated(const char *entry)
{
	uint8_t head[ELF_HEAD];
	AUTO_FREE char *magic = line_of(entry, "magic "), *flags = line_of(entry, "flags: "), *offset = line_of(entry, "offset ");
	if (!str_starts(entry, "enabled\n") || !magic || !flags || !strchr(flags, 'F') || (offset && !str_eq(offset, "0")))
		return NULL;
	if (strlen(magic) < 2 * (size_t) ELF_HEAD)
		return NULL;
	magic[2 * ELF_HEAD] = '\0';
	if (hex_decode(magic, ELF_HEAD, head) < 0 || memcmp(head, ELFMAG, SELFMAG) != 0)
		return NULL;
	return elf_architecture(head);
}

int64_t box_memory(const char *meminfo, const char *key)
{
	AUTO_FREE char *value = line_of(meminfo, key);
	return value ? (int64_t) strtoll(value, NULL, 10) * 1024 : 0;
}

static void read_emulated(Box *b)
{
	/* What the kernel runs by itself. */
	if (str_eq(b->architecture, "amd64"))
		strv_add(&b->emulated, "386");
	else if (str_eq(b->architecture, "arm64"))
		strv_add(&b->emulated, "arm");
	DIR *dir = opendir(BINFMT_DIR);
	const struct dirent *e;
	while (dir && (e = readdir(dir))) {
		AUTO_BUF entry = BUF_INIT;
		if (*e->d_name == '.' || file_read(dirfd(dir), e->d_name, PROC_FILE_MAX, &entry) < 0)
			continue;
		const char *name = box_emulated(buf_cstr(&entry));
		if (name && !str_eq(name, b->architecture) && !strv_has(b->emulated, name))
			strv_add(&b->emulated, name);
	}
	if (dir)
		(void) closedir(dir);
}

void box_read(const char *state_dir, Box *ret)
{
	static struct utsname u; /* keeps what machine_architecture may give back */
	struct statvfs fs;
	AUTO_BUF memory = BUF_INIT;
	(void) uname(&u);
	*ret = (Box) { .architecture = machine_architecture(u.machine) };
	read_emulated(ret);
	if (file_read(AT_FDCWD, "/proc/meminfo", PROC_FILE_MAX, &memory) == 0) {
		ret->memory_total = box_memory(buf_cstr(&memory), "MemTotal:");
		ret->memory_free = box_memory(buf_cstr(&memory), "MemAvailable:");
		ret->swap_free = box_memory(buf_cstr(&memory), "SwapFree:");
	}
	if (statvfs(state_dir, &fs) == 0)
		ret->disk_free = (int64_t) (fs.f_bfree * fs.f_frsize);
}

void box_done(Box *b)
{
	strv_free(b->emulated);
	b->emulated = NULL;
}

json_t *box_json(const Box *b)
{
	return json_pack("{s:s, s:o, s:I, s:I, s:I, s:I}", "architecture", b->architecture, "emulated", json_strv(b->emulated), "memory_total",
		(json_int_t) b->memory_total, "memory_free", (json_int_t) b->memory_free, "swap_free", (json_int_t) b->swap_free, "disk_free", (json_int_t) b->disk_free);
}
