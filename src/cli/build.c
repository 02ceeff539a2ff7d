// SPDX-License-Identifier: Apache-2.0
/*
 * Two commands of one name: docker's, whose operand is a directory, and compose's, whose operands are services. What is written like a
 * path is a directory; a bare word is a service, unless an option says that docker's is meant.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/building.h"
#include "cli/project.h"
#include "model/git-url.h"

typedef struct BuildOptions {
	char **tags, **args, **labels, **secrets, **ssh, **hosts, **ulimits, **contexts, **no_cache_filter, **cache_from, **cache_to;
	const char *dockerfile, *target, *platform, *network, *memory, *cpus, *shm_size, *id_file;
	bool no_cache, pull, quiet, shell, check;
} BuildOptions;

#define B(member) offsetof(BuildOptions, member)
static const Option options[] = {
	{ "tag", 't', OPTION_LIST, B(tags), "NAME[:TAG]", "Name of the image", "image" },
	{ "file", 'f', OPTION_STRING, B(dockerfile), "FILE", "The Dockerfile (default: CONTEXT/Dockerfile); - is standard input", "file" },
	{ "target", 0, OPTION_STRING, B(target), "STAGE", "Build this stage (default: the last)", NULL },
	{ "build-arg", 0, OPTION_LIST, B(args), "NAME[=VALUE]", "Value of an ARG; without VALUE this environment's", NULL },
	{ "platform", 0, OPTION_STRING, B(platform), "OS/ARCH", "Build for this platform (default: the daemon's)", NULL },
	{ "no-cache", 0, OPTION_FLAG, B(no_cache), NULL, "Do every step anew", NULL },
	{ "no-cache-filter", 0, OPTION_LIST, B(no_cache_filter), "STAGE", "Do the steps of this stage anew", NULL },
	{ "cache-from", 0, OPTION_LIST, B(cache_from), "DIR", "Take steps from the cache that a build has written there; or type=local,src=DIR", "directory" },
	{ "cache-to", 0, OPTION_LIST, B(cache_to), "DIR", "Write the build's cache there; or type=local,dest=DIR[,mode=min]", "directory" },
	{ "pull", 0, OPTION_FLAG, B(pull), NULL, "Look for newer base images", NULL },
	{ "label", 0, OPTION_LIST, B(labels), "NAME=VALUE", "Label of the image", NULL },
	{ "secret", 0, OPTION_LIST, B(secrets), "id=ID,src=FILE", "A secret for RUN instructions that mount it; or id=ID,env=VARIABLE", NULL },
	{ "ssh", 0, OPTION_LIST, B(ssh), "default|ID=SOCKET|ID=KEY[,KEY]", "An SSH agent, or private keys, for RUN instructions that mount it", NULL },
	{ "network", 0, OPTION_CHOICE, B(network), "MODE", "Network of RUN instructions", "default host none" },
	{ "add-host", 0, OPTION_LIST, B(hosts), "NAME:ADDRESS", "A line of /etc/hosts for RUN instructions", NULL },
	{ "build-context", 0, OPTION_LIST, B(contexts), "NAME=DIRECTORY|URL|docker-image://IMAGE", "A further context, which the Dockerfile names as it does a stage", NULL },
	{ "memory", 'm', OPTION_STRING, B(memory), "SIZE", "Memory of a RUN instruction (default: what is free, but for some room)", NULL },
	{ "cpus", 0, OPTION_STRING, B(cpus), "N", "CPUs of a RUN instruction (default: all, behind the services)", NULL },
	{ "shm-size", 0, OPTION_STRING, B(shm_size), "SIZE", "Size of /dev/shm", NULL },
	{ "ulimit", 0, OPTION_LIST, B(ulimits), "NAME=SOFT[:HARD]", "A ulimit of RUN instructions", NULL },
	{ "quiet", 'q', OPTION_FLAG, B(quiet), NULL, "Print nothing but the image's id", NULL },
	{ "iidfile", 0, OPTION_STRING, B(id_file), "FILE", "Write the image's id to this file", "file" },
	{ "check", 0, OPTION_FLAG, B(check), NULL, "Look for what is wrong with the Dockerfile, and build nothing", NULL },
	{ "shell-on-fail", 0, OPTION_FLAG, B(shell), NULL, "When a RUN instruction fails, open a shell in what it has left", NULL },
	{ NULL },
};

/* "NAME=VALUE"; without a value that of the environment, if it is set there. */
static int add_pairs(json_t *to, char *const *list, const char *option, bool environment, Err *err)
{
	for (; list && *list; list++) {
		const char *eq = strchr(*list, '='), *value = eq ? eq + 1 : environment ? getenv(*list) : "";
		AUTO_FREE char *name = xstrndup(*list, eq ? (size_t) (eq - *list) : strlen(*list));
		if (!*name)
			return err_set(err, -EINVAL, "--%s %s: write NAME=VALUE", option, *list);
		if (value && json_object_set_new(to, name, json_string(value)) < 0)
			return err_set(err, -EINVAL, "--%s %s: the value is not UTF-8", option, name);
	}
	return 0;
}

static json_t *object_of(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);
	if (!v) {
		v = json_object();
		(void) json_object_set_new(o, key, v);
	}
	return v;
}

static int add_size(json_t *limits, const char *key, const char *option, const char *text, Err *err)
{
	int64_t n;
	if (!text)
		return 0;
	if (parse_bytes(text, &n) < 0 || n <= 0)
		return err_set(err, -EINVAL, "--%s %s: write a size such as 512m", option, text);
	return json_object_set_new(limits, key, json_integer(n));
}

static int add_hosts(json_t *limits, char *const *hosts, Err *err)
{
	json_t *list = json_object_get(limits, "hosts");
	if (!hosts)
		return 0;
	if (!list) {
		list = json_array();
		(void) json_object_set_new(limits, "hosts", list);
	}
	for (; *hosts; hosts++) {
		size_t n = strcspn(*hosts, ":=");
		if (!n || !(*hosts)[n] || !(*hosts)[n + 1])
			return err_set(err, -EINVAL, "--add-host %s: write NAME:ADDRESS", *hosts);
		AUTO_FREE char *pair = xasprintf("%.*s=%s", (int) n, *hosts, *hosts + n + 1);
		(void) json_array_append_new(list, json_string(pair));
	}
	return 0;
}

static int add_ulimits(json_t *limits, char *const *list, Err *err)
{
	for (; list && *list; list++) {
		const char *eq = strchr(*list, '=');
		int64_t soft, hard;
		AUTO_FREE char *first = eq ? xstrndup(eq + 1, strcspn(eq + 1, ":")) : NULL;
		const char *colon = eq ? strchr(eq, ':') : NULL;
		if (!eq || parse_i64(first, &soft) < 0 || parse_i64(colon ? colon + 1 : first, &hard) < 0)
			return err_set(err, -EINVAL, "--ulimit %s: write NAME=SOFT[:HARD]", *list);
		AUTO_FREE char *name = xstrndup(*list, (size_t) (eq - *list));
		(void) json_object_set_new(object_of(limits, "ulimits"), name, json_pack("{s:I, s:I}", "soft", (json_int_t) soft, "hard", (json_int_t) hard));
	}
	return 0;
}

static int set_limits(const BuildOptions *o, Building *b, Err *err)
{
	double cpus;
	int r = add_size(b->limits, "memory", "memory", o->memory, err);
	if (r == 0)
		r = add_size(b->limits, "shm_size", "shm-size", o->shm_size, err);
	if (r == 0)
		r = add_hosts(b->limits, o->hosts, err);
	if (r == 0)
		r = add_ulimits(b->limits, o->ulimits, err);
	if (r == 0 && o->cpus && (parse_double(o->cpus, &cpus) < 0 || cpus <= 0))
		r = err_set(err, -EINVAL, "--cpus %s: write a number such as 1.5", o->cpus);
	if (r == 0 && o->cpus)
		(void) json_object_set_new(b->limits, "cpus", json_real(cpus));
	if (r == 0 && o->network)
		(void) json_object_set_new(b->limits, "network", json_string(o->network));
	if (o->shell)
		(void) json_object_set_new(b->limits, "shell", json_true());
	return r;
}

/* What both forms have. */
static int set_common(const BuildOptions *o, Building *b, Err *err)
{
	int r = add_pairs(object_of(b->options, "args"), o->args, "build-arg", true, err);
	if (r == 0)
		r = add_pairs(object_of(b->options, "labels"), o->labels, "label", false, err);
	for (char **c = o->contexts; r == 0 && c && *c; c++) {
		const char *eq = strchr(*c, '=');
		AUTO_FREE char *name = xstrndup(*c, eq ? (size_t) (eq - *c) : strlen(*c));
		r = building_add_context(b, name, eq ? eq + 1 : "", err);
	}
	for (char **s = o->secrets; r == 0 && s && *s; s++)
		r = building_add_secret(b, *s, err);
	for (char **s = o->ssh; r == 0 && s && *s; s++)
		r = build_agents_add(&b->agents, *s, err);
	for (char **c = o->cache_from; r == 0 && c && *c; c++)
		r = building_add_cache(b, *c, false, NULL, err);
	for (char **c = o->cache_to; r == 0 && c && *c; c++)
		r = building_add_cache(b, *c, true, NULL, err);
	if (r < 0 || (r = set_limits(o, b, err)) < 0)
		return r;
	if (o->no_cache)
		(void) json_object_set_new(b->options, "no_cache", json_true());
	if (o->no_cache_filter)
		(void) json_object_set_new(b->options, "no_cache_filter", strv_to_json(o->no_cache_filter));
	if (o->pull)
		(void) json_object_set_new(b->options, "pull", json_true());
	if (o->platform)
		(void) json_object_set_new(b->options, "platform", json_string(o->platform));
	if (o->target)
		(void) json_object_set_new(b->options, "target", json_string(o->target));
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	int64_t seconds;
	if (!str_empty(epoch) && parse_i64(epoch, &seconds) == 0 && seconds >= 0)
		(void) json_object_set_new(b->options, "source_date_epoch", json_integer(seconds));
	b->quiet = o->quiet;
	return 0;
}

/* ── docker's form ────────────────────────────────────────────────── */

static int run_directory(const Cli *cli, const BuildOptions *o, const char *context)
{
	AUTO_ERR err = ERR_INIT;
	AUTO_BUILDING b;
	building_init(&b);
	if (str_eq(context, "-") && str_eq(o->dockerfile, "-"))
		return cli_usage(cli, "-f - and the context - are both standard input");
	/* First, since a repository may need an agent or a secret. */
	int r = set_common(o, &b, &err);
	if (r == 0)
		r = building_read(&b, context, o->dockerfile, NULL, &err);
	if (r < 0)
		return building_refuse(&err);
	(void) json_object_set_new(b.options, "tags", strv_to_json(o->tags));
	b.id_file = o->id_file;
	b.check = o->check;
	return building_run(cli, &b);
}

/* ── compose's form ───────────────────────────────────────────────── */

static int adjust(void *user, const Service *svc, Building *b, Err *err)
{
	return set_common(user, b, err);
}

/* `docker build app`, out of habit. */
static void hint_at_directory(char *const *services)
{
	struct stat st;
	const char *word = services ? *services : NULL;
	if (word && !services[1] && stat(word, &st) == 0 && S_ISDIR(st.st_mode))
		fprintf(stderr, "'%s' is a directory: to build it, write ./%s\n", word, word);
}

static int run_services(const Cli *cli, BuildOptions *o, char **services)
{
	AUTO_STACK *stack = NULL;
	bool any = false;
	if (o->dockerfile)
		return cli_usage(cli, "-f behind `build` names a Dockerfile; a compose file stands before: stead -f FILE build");
	if (o->tags || o->id_file)
		return cli_usage(cli, "--%s is for a directory, written with a slash (./%s); services have their names in the compose file", o->tags ? "tag" : "iidfile",
			services && *services ? *services : "");
	int code = project_load(cli, services, &stack);
	if (code) {
		hint_at_directory(services);
		return code;
	}
	for (size_t i = 0; i < stack->n_services; i++)
		any = any || stack->services[i].build.context;
	for (char **s = services; s && *s; s++)
		if (!stack_service(stack, *s)->build.context)
			return cli_usage(cli, "service '%s' has no 'build:' in the compose file; a directory is written ./%s", *s, *s);
	if (!any) {
		cli_warning("no service of the compose file has 'build:'; a directory is built with: stead build DIRECTORY");
		return EXIT_DONE;
	}
	return building_services(cli, stack, services, false, o->check ? BUILD_CHECK : BUILD_ALL, adjust, o);
}

static bool is_directory(const BuildOptions *o, char *const *args)
{
	const char *word = args ? *args : NULL;
	if (!word || args[1])
		return false;
	return o->tags || o->dockerfile || o->id_file || strchr(word, '/') || str_eq(word, ".") || str_eq(word, "..") || str_eq(word, "-") || git_url_is_context(word);
}

static int run(Cli *cli, void *values, char **args)
{
	BuildOptions *o = values;
	if (o->shell && !(isatty(STDIN_FILENO) && isatty(STDERR_FILENO)))
		return cli_usage(cli, "--shell-on-fail needs a terminal: standard input and error are to be one");
	if ((o->tags || o->dockerfile || o->id_file) && args && args[1])
		return cli_usage(cli, "one directory is built at a time; options come as -t NAME, not as further words");
	return is_directory(o, args) ? run_directory(cli, o, *args) : run_services(cli, o, args);
}

const Command command_build = {
	.name = "build",
	.operands = "DIRECTORY | URL | - | [SERVICE...]",
	.summary = "Make images from Dockerfiles",
	.text = "With a directory, as docker: `stead build -t app .` builds ./Dockerfile with that directory as its context (less what\n"
		".dockerignore names). With names of services, or with nothing, as compose: what has 'build:' in the compose file. A bare\n"
		"word is a service; write ./word for a directory of that name. The context - is standard input: a tar archive, also a\n"
		"compressed one, or a Dockerfile alone; https://HOST/FILE.tar.gz is fetched and unpacked. A git repository\n"
		"(https://HOST/PATH.git, ssh://…, git://…, USER@HOST:PATH, with #REF:DIRECTORY) is fetched by your own git.\n"
		"--check prints what BuildKit's checks find; the exit code is 1 if that is anything.\n"
		"Ctrl-C ends the build; what steps of some length have made stays in the cache.",
	.options = options,
	.size = sizeof(BuildOptions),
	.max = -1,
	.complete = "service",
	.run = run,
};
