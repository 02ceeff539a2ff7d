// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Dockerfiles: text to stages and instructions. The language is that of the Dockerfile reference
 * (docs.docker.com/reference/dockerfile) and of BuildKit's frontend 1.x; everything is checked that can be
 * without the values of variables, so that a slip is found before anything is built. Variables stay as they
 * are written: dockerfile/scope.h replaces them, stage by stage, when their values are known.
 *
 * A Dockerfile is hostile text. Errors and warnings begin with "NAME:LINE: INSTRUCTION: ".
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/stack.h"

typedef enum InstructionKind {
	INSTRUCTION_ADD,
	INSTRUCTION_ARG,
	INSTRUCTION_CMD,
	INSTRUCTION_COPY,
	INSTRUCTION_ENTRYPOINT,
	INSTRUCTION_ENV,
	INSTRUCTION_EXPOSE,
	INSTRUCTION_FROM,
	INSTRUCTION_HEALTHCHECK,
	INSTRUCTION_LABEL,
	INSTRUCTION_MAINTAINER,
	INSTRUCTION_ONBUILD,
	INSTRUCTION_RUN,
	INSTRUCTION_SHELL,
	INSTRUCTION_STOPSIGNAL,
	INSTRUCTION_USER,
	INSTRUCTION_VOLUME,
	INSTRUCTION_WORKDIR,
	INSTRUCTION_KINDS,
} InstructionKind;

typedef struct Heredoc {
	char *name;
	char *text;  /* ends with a newline unless empty; with <<- the leading tabs are gone */
	bool expand; /* the name was not quoted: variables count (COPY and ADD; in RUN that is the shell's matter) */
	bool chomp;  /* <<- */
} Heredoc;

typedef struct KeyValue {
	char *key, *value; /* value NULL: an ARG without a default */
} KeyValue;

typedef enum RunMountType { RUN_MOUNT_BIND, RUN_MOUNT_CACHE, RUN_MOUNT_SECRET, RUN_MOUNT_SSH, RUN_MOUNT_TMPFS } RunMountType;
typedef enum RunMountSharing { RUN_SHARING_SHARED, RUN_SHARING_PRIVATE, RUN_SHARING_LOCKED } RunMountSharing;

/** One RUN --mount. Defaults that depend on the type are filled in (target of secrets and ssh, modes, ids), but relative targets stay relative. */
typedef struct RunMount {
	RunMountType type;
	char *id;       /* cache: default is the target as written; secret: default is the base name of the target; ssh: "default" */
	char *source;   /* path in `from`, or NULL: its root */
	char *target;   /* NULL: a secret that is only an environment variable; may be relative to the working directory */
	char *from;     /* stage, image or named context; NULL: the build context (bind), an empty directory (cache) */
	char *env;      /* secret: the variable that holds it, or NULL */
	bool read_only; /* bind: writes are refused; with rw they are thrown away */
	bool required;  /* secret, ssh: missing is an error */
	int64_t size;   /* tmpfs: bytes, 0 = no limit */
	RunMountSharing sharing;
	int64_t mode, uid, gid; /* of the secret, socket or cache directory; always set for these types */
} RunMount;

typedef enum RunNetwork { RUN_NETWORK_DEFAULT, RUN_NETWORK_NONE, RUN_NETWORK_HOST } RunNetwork;

/** What an instruction does not have is NULL, 0, false or as noted. */
typedef struct Instruction {
	InstructionKind kind;
	unsigned line, last_line; /* from 1 */
	char *text;               /* as written, continued lines joined, heredocs behind it: for messages, history and cache keys */
	bool json;                /* exec form */
	/*
	 * ADD, COPY: the sources that are no heredocs, then the destination. CMD, ENTRYPOINT, RUN: the words of the
	 * exec form, or one string for the shell. SHELL: its words. EXPOSE: ports. VOLUME: paths. FROM: the base.
	 * HEALTHCHECK: nothing, see below. USER, WORKDIR, STOPSIGNAL, MAINTAINER: the one. ONBUILD: the trigger's text.
	 */
	char **args;
	KeyValue *pairs; /* ARG, ENV, LABEL */
	size_t n_pairs;
	Heredoc *heredocs; /* ADD, COPY: further sources, by the name; RUN: see instruction_command */
	size_t n_heredocs;

	char *platform;   /* FROM --platform */
	char *stage_name; /* FROM … AS, lower case */

	char *from;                      /* COPY --from */
	char *chown, *chmod, *checksum;  /* ADD, COPY */
	bool link, parents, keep_git_dir;
	int unpack;                      /* ADD --unpack: -1 = not said */
	char **excludes;

	char **mount_flags; /* RUN --mount as written */
	RunMount *mounts;   /* for each of them. Values with variables are complete only after instruction_expand; `from` is at once */
	size_t n_mounts;
	RunNetwork network;

	Healthcheck healthcheck; /* HEALTHCHECK */
} Instruction;

typedef struct Stage {
	char *name;       /* lower case; NULL = none */
	Instruction from;
	Instruction *instructions;
	size_t n_instructions;
} Stage;

typedef struct DockerfileWarning {
	unsigned line;
	const char *rule; /* "MaintainerDeprecated": BuildKit's name of the check; constant */
	char *text;       /* with "NAME:LINE: " in front */
} DockerfileWarning;

typedef struct Dockerfile {
	char *name;    /* for messages: "Dockerfile" */
	char escape;   /* '\\' or '`' */
	char *syntax;  /* # syntax=, or NULL */
	bool check_error;   /* # check=error=true: warnings are errors, see dockerfile/check.h */
	char **check_skip;  /* # check=skip=…: rules, or "all" */
	Instruction *globals; /* ARG before the first FROM */
	size_t n_globals;
	Stage *stages; /* at least one */
	size_t n_stages;
	DockerfileWarning *warnings;
	size_t n_warnings;
} Dockerfile;

/**
 * Parses n bytes. `name` is the file's name for messages. -EINVAL: what is wrong, where, and what was probably meant;
 * also for more than LIMIT_DOCKERFILE_BYTES.
 */
int dockerfile_parse(const char *name, const char *text, size_t n, Dockerfile **ret, Err *err);
/**
 * Parses one trigger of an image's configuration (OnBuild), as an instruction of `f`. FROM, ONBUILD and MAINTAINER are refused.
 * `line` is that of the FROM that brought it. The result is the caller's: instruction_done.
 */
int dockerfile_parse_trigger(const Dockerfile *f, const char *trigger, unsigned line, Instruction *ret, Err *err);
void dockerfile_free(Dockerfile *f);
void dockerfile_freep(Dockerfile **f);

void instruction_done(Instruction *i);
/** "COPY" */
const char *instruction_name(InstructionKind kind);
/** Puts "NAME:LINE: INSTRUCTION: " in front of the error; gives its code. */
int instruction_wrap(const Dockerfile *f, const Instruction *i, Err *err);

/**
 * The argv of RUN, CMD or ENTRYPOINT: the exec form as it is, the shell form behind `shell` (NULL = /bin/sh -c), heredocs
 * as BuildKit has them: a RUN that is nothing but <<NAME runs the heredoc's text in the shell, or, if that begins with
 * "#!", as a program: then *ret_script is its text (borrowed), and argv is ["/dev/pipes/NAME"], where a file of mode 0755
 * with that text has to be while the command runs. Otherwise *ret_script is NULL. The argv is the caller's.
 */
char **instruction_command(const Instruction *i, char *const *shell, const char **ret_script);
