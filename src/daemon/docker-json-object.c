// SPDX-License-Identifier: Apache-2.0
/*
 * Networks, volumes and images as Docker shows them. Fields that clients are known to read are there with their exact types, also where
 * stead has nothing to say (an empty list is not null).
 */
#include <sys/stat.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/docker-json.h"
#include "daemon/image.h"
#include "image/reference.h"

/* ── networks and volumes ─────────────────────────────────────────── */

static json_t *network_containers(const Daemon *d, const NetState *n)
{
	json_t *o = json_object();
	for (size_t i = 0; i < d->n_containers; i++) {
		const Container *c = d->containers[i];
		for (size_t k = 0; k < c->n_endpoints && ctr_is_running(c); k++) {
			const Endpoint *e = &c->endpoints[k];
			if (e->net != n)
				continue;
			AUTO_FREE char *address = xasprintf("%s/%d", e->address, docker_prefix(n->subnet));
			set(o, c->id, json_pack("{s:s, s:s, s:s, s:s, s:s}", "Name", c->name, "EndpointID", c->id, "MacAddress", e->mac, "IPv4Address",
				address, "IPv6Address", ""));
		}
	}
	return o;
}

json_t *docker_network(const Daemon *d, const NetState *n, bool containers)
{
	json_t *o = json_object();
	json_t *ipam = json_object();
	set_text(ipam, "Subnet", n->subnet);
	if (n->ip_range)
		set_text(ipam, "IPRange", n->ip_range);
	set_text(ipam, "Gateway", n->gateway);
	set_text(o, "Name", n->name);
	set_text(o, "Id", n->id);
	set_time(o, "Created", n->created);
	set_text(o, "Scope", "local");
	set_text(o, "Driver", n->driver);
	set_bool(o, "EnableIPv6", false);
	set(o, "IPAM", json_pack("{s:s, s:n, s:[o]}", "Driver", "default", "Options", "Config", ipam));
	set_bool(o, "Internal", n->internal);
	set_bool(o, "Attachable", n->attachable);
	set_bool(o, "Ingress", false);
	set(o, "ConfigFrom", json_pack("{s:s}", "Network", ""));
	set_bool(o, "ConfigOnly", false);
	set(o, "Containers", containers ? network_containers(d, n) : json_object());
	set(o, "Options", n->bridge ? json_pack("{s:s}", "com.docker.network.bridge.name", n->bridge) : json_object());
	set(o, "Labels", json_pairs(n->labels));
	return o;
}

json_t *docker_volume(const VolState *v)
{
	json_t *o = json_object();
	set_time(o, "CreatedAt", v->created);
	set_text(o, "Driver", v->driver);
	set(o, "Labels", json_pairs(v->labels));
	set_text(o, "Mountpoint", v->path);
	set_text(o, "Name", v->name);
	set(o, "Options", json_object());
	set_text(o, "Scope", "local");
	return o;
}

/* ── images ───────────────────────────────────────────────────────── */

/** As docker writes them: without the default registry. */
static json_t *references_json(char *const *references)
{
	json_t *list = json_array();
	for (char *const *t = references; t && *t; t++) {
		AUTO_FREE char *shown = reference_show(*t);
		json_array_append_new(list, json_safe(shown));
	}
	return list;
}

json_t *image_tags_json(const Image *img)
{
	return references_json(img->tags);
}

json_t *docker_image_summary(const Daemon *d, const Image *img)
{
	json_t *o = json_object();
	json_t *tags = image_tags_json(img);
	set_int(o, "Containers", -1);
	set_int(o, "Created", img->created / NSEC_PER_SEC);
	set_text(o, "Id", img->id);
	set(o, "Labels", strv_len(img->config.labels) ? json_pairs(img->config.labels) : json_null());
	set_text(o, "ParentId", "");
	if (json_array_size(tags) == 0)
		json_array_append_new(tags, json_string("<none>:<none>"));
	set(o, "RepoDigests", references_json(img->digests));
	set(o, "RepoTags", tags);
	set_int(o, "SharedSize", -1);
	set_int(o, "Size", img->size);
	set_int(o, "VirtualSize", img->size);
	return o;
}

static json_t *image_config(const Image *img)
{
	const ImageConfig *i = &img->config;
	json_t *o = json_object();
	set_text(o, "Hostname", "");
	set_text(o, "Domainname", "");
	set_text(o, "User", i->user);
	set_bool(o, "AttachStdin", false);
	set_bool(o, "AttachStdout", false);
	set_bool(o, "AttachStderr", false);
	if (strv_len(i->exposed_ports))
		set(o, "ExposedPorts", docker_name_set(i->exposed_ports));
	set_bool(o, "Tty", false);
	set_bool(o, "OpenStdin", false);
	set_bool(o, "StdinOnce", false);
	set(o, "Env", json_strv(i->env));
	set(o, "Cmd", docker_strv_or_null(i->cmd));
	if (i->healthcheck.set)
		set(o, "Healthcheck", docker_healthcheck(&i->healthcheck));
	set_text(o, "Image", "");
	set(o, "Volumes", strv_len(i->volumes) ? docker_name_set(i->volumes) : json_null());
	set_text(o, "WorkingDir", i->working_dir);
	set(o, "Entrypoint", docker_strv_or_null(i->entrypoint));
	set(o, "OnBuild", json_null());
	set(o, "Labels", strv_len(i->labels) ? json_pairs(i->labels) : json_null());
	if (i->stop_signal)
		set_text(o, "StopSignal", i->stop_signal);
	if (i->shell)
		set(o, "Shell", json_strv(i->shell));
	return o;
}

/* When it was last pulled, loaded or made: its configuration is written anew each time. 0 = not known. */
static int64_t image_came(const Daemon *d, const Image *img)
{
	struct stat st;
	AUTO_FREE char *path = xasprintf("%s/blobs/sha256/%s", d->o.state_dir, img->id + strlen("sha256:"));
	return stat(path, &st) < 0 ? 0 : (int64_t) st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec;
}

json_t *docker_image_inspect(const Daemon *d, const Image *img)
{
	json_t *o = json_object(), *layers = json_array();
	json_t *blob = json_loads(img->config_json, 0, NULL);
	for (size_t i = 0; i < img->n_layers; i++)
		json_array_append_new(layers, json_safe(img->layers[i].diff_id));
	set_text(o, "Id", img->id);
	set(o, "RepoTags", image_tags_json(img));
	set(o, "RepoDigests", references_json(img->digests));
	set_text(o, "Parent", "");
	set_text(o, "Comment", json_string_value(json_object_get(blob, "comment")));
	set_time(o, "Created", img->created);
	set_text(o, "Container", "");
	set_text(o, "DockerVersion", "");
	set_text(o, "Author", json_string_value(json_object_get(blob, "author")));
	set(o, "Config", image_config(img));
	set_text(o, "Architecture", img->architecture);
	if (img->variant)
		set_text(o, "Variant", img->variant);
	set_text(o, "Os", img->os);
	set_int(o, "Size", img->size);
	set_int(o, "VirtualSize", img->size);
	set(o, "GraphDriver", json_pack("{s:s, s:{}}", "Name", "overlay2", "Data"));
	set(o, "RootFS", json_pack("{s:s, s:o}", "Type", "layers", "Layers", layers));
	json_t *metadata = json_object();
	set_time(metadata, "LastTagTime", image_came(d, img));
	set(o, "Metadata", metadata);
	json_decref(blob);
	return o;
}
