// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The inside of the edge's certificates: certs.c keeps one CertHost for each host that has a route with TLS, and looks after those from files and
 * from the local authority; acme.c after those from an ACME server.
 */

#include <sys/types.h>

#include "edge/acme-schedule.h"
#include "edge/cert-job.h"
#include "edge/certs.h"

typedef enum CertSource {
	CERT_FROM_FILES,
	CERT_FROM_BOX,  /* the local authority, or self-signed */
	CERT_FROM_ACME,
	CERT_FROM_NOBODY, /* `error` says why; the default certificate */
} CertSource;

/** What tells that a file is another one now. */
typedef struct FileSeen {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
} FileSeen;

typedef struct CertHost {
	struct CertHost *next;
	struct Certs *certs;
	char *host;        /* "" = the default certificate */
	CertSource source;
	char *cert, *key;  /* CERT_FROM_FILES */
	char *file;        /* absolute path of the bundle */
	char *pem;         /* its content, what clients get; NULL = none yet */
	char digest[65];   /* of pem */
	int64_t not_before, not_after; /* seconds; 0 = not known */
	char *issuer;
	char *error;       /* why it is not what it should be, or NULL */
	bool configured;   /* source, cert and key are set */
	bool wanted;       /* by the table; used while a new one is taken over */
	bool busy;         /* a job is under way */
	int64_t retry_at;  /* monotonic ns; after a failed job */
	FileSeen seen[2];
	/* acme.c */
	bool looked;       /* what an earlier daemon got has been taken over */
	bool issued;       /* not_before and not_after are those of an ACME certificate */
	AcmeHistory history;
	int preflights;    /* failed in a row */
	int64_t preflight_at; /* monotonic ns */
} CertHost;

struct Certs {
	CertsOptions o;
	char *state_dir;   /* STATE/edge */
	CertJobs *jobs;
	struct Acme *acme; /* NULL: off */
	char *dir;         /* STATE/edge/certs */
	char *ca;          /* file of the local authority's certificate */
	CertHost *hosts;   /* in order of files; the default one is kept apart */
	CertHost *fallback; /* NULL while HTTPS is off */
	char **addresses;  /* host names that are addresses, which the default certificate covers */
	uv_timer_t timer;
	int64_t swept_at;  /* monotonic ns */
	bool held;         /* a host waits for certs_in_effect */
};

/** Looks what is due; by itself every few seconds. */
void certs_tick(Certs *c);
/** certs_tick within this time (ns), not only at its next turn. */
void certs_soon(Certs *c, int64_t ns);
CertHost *certs_find(const Certs *c, const char *host);
/** Takes the bundle on disk into use if it differs; tells the edge. */
void cert_host_load(CertHost *h);
/** NULL: all is well. Logged when it is another than before. */
void cert_host_error(CertHost *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** What a job reported. */
void cert_host_info(CertHost *h, const CertReport *r);

/* acme.c */

/** Directories and keys are below STATE/edge/acme. NULL options: off. */
struct Acme *acme_new(Certs *c, const char *server, const char *email, const char *ca);
void acme_free(struct Acme *a);
/** Begins what is due. Called when hosts change and every few seconds. */
void acme_tick(struct Acme *a);
/** The host is new: takes over what an earlier daemon got for it. */
void acme_look(struct Acme *a, CertHost *h);
/** The host, or what it was wanted for, goes. */
void acme_forget(struct Acme *a, const CertHost *h);
/** NULL until the account has a key. */
const char *acme_thumbprint(const struct Acme *a);
/** When the next attempt may come, seconds since the epoch. */
int64_t acme_host_next(CertHost *h, int64_t now);
