// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the daemon (net/names.h) and stead-names (names/) say to each other: records of fixed layout on a unix
 * SOCK_SEQPACKET socket, one in each packet, in the machine's byte order. Both ends come from one build, but
 * an old stead-names may meet a new daemon, so the header and NAMES_HELLO, NAMES_WELCOME and NAMES_QUIT stay
 * as they are in all versions.
 *
 * A session: the daemon connects and says HELLO; from then on what the server holds counts as stale. The
 * server answers WELCOME and one LISTED for each endpoint that it holds, then LIST_END. The daemon tells
 * endpoints and names anew (endpoints that were listed without sockets), then SYNCED: what is still stale is
 * dropped. Nothing but HELLO is answered, except by FAILED.
 */

#include <stdint.h>

#define NAMES_MAGIC 0x53444e31U /* "SDN1" */
#define NAMES_VERSION 1
#define NAMES_ID_SIZE 72      /* id of a container or network and NUL */
#define NAMES_NAME_SIZE 256   /* a name and NUL */
#define NAMES_NETWORKS_MAX 32 /* networks of one container */
#define NAMES_UPSTREAMS_MAX 3
#define NAMES_PER_ADDRESS_MAX 64
#define NAMES_TEXT_MAX 8192 /* bytes of all names of one address, each with its NUL */
#define NAMES_PORT 53
#define NAMES_ADDRESS "127.0.0.11"

typedef enum NamesType {
	NAMES_HELLO = 1, /* daemon: NamesHello */
	NAMES_UPSTREAMS, /* daemon: NamesUpstreams: the host's resolvers */
	NAMES_ENDPOINT, /* daemon: NamesEndpointRecord, with an UDP and a listening TCP socket (SCM_RIGHTS) or
			   none */
	NAMES_ENDPOINT_GONE, /* daemon: NamesId */
	NAMES_SET,           /* daemon: NamesSet */
	NAMES_SYNCED,        /* daemon: header only */
	NAMES_QUIT,          /* daemon: header only: end as soon as there is no endpoint */
	NAMES_WELCOME = 64,  /* server: NamesWelcome */
	NAMES_LISTED,        /* server: NamesId */
	NAMES_LIST_END,      /* server: header only */
	NAMES_FAILED,        /* server: NamesFailed */
} NamesType;

typedef struct NamesHeader {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	uint32_t size; /* of the whole record */
} NamesHeader;

typedef struct NamesHello {
	NamesHeader header;
} NamesHello;

typedef struct NamesWelcome {
	NamesHeader header;
	int32_t pid;
	uint32_t endpoints;
} NamesWelcome;

typedef struct NamesAddress {
	uint8_t family; /* 0 (unset), 4 or 6 */
	uint8_t unused[3];
	uint8_t bytes[16]; /* network order */
} NamesAddress;

typedef struct NamesUpstreams {
	NamesHeader header;
	uint32_t n;
	NamesAddress servers[NAMES_UPSTREAMS_MAX];
} NamesUpstreams;

typedef struct NamesId {
	NamesHeader header;
	char id[NAMES_ID_SIZE];
} NamesId;

typedef struct NamesEndpointRecord {
	NamesHeader header;
	char id[NAMES_ID_SIZE];
	uint32_t forward; /* 0: no names of the outside */
	uint32_t n_upstreams;
	NamesAddress upstreams[NAMES_UPSTREAMS_MAX]; /* its own; none = the host's */
	uint32_t n_networks;
	char networks[NAMES_NETWORKS_MAX][NAMES_ID_SIZE];
} NamesEndpointRecord;

/** Names of one address on one network; replaces what it had. No names: forget the address. The packet ends
 * after `text_size` bytes of text. */
typedef struct NamesSet {
	NamesHeader header;
	char network[NAMES_ID_SIZE];
	char network_name[NAMES_NAME_SIZE];
	NamesAddress address;
	uint32_t n;
	uint32_t text_size;
	char text[NAMES_TEXT_MAX]; /* n strings, each with its NUL */
} NamesSet;

typedef struct NamesFailed {
	NamesHeader header;
	uint32_t type; /* of the record that was refused */
	int32_t code;  /* negative errno */
} NamesFailed;

typedef union NamesRecord {
	NamesHeader header;
	NamesHello hello;
	NamesWelcome welcome;
	NamesUpstreams upstreams;
	NamesId id;
	NamesEndpointRecord endpoint;
	NamesSet set;
	NamesFailed failed;
} NamesRecord;

_Static_assert(sizeof(NamesHeader) == 12, "layout");
_Static_assert(sizeof(NamesAddress) == 20, "layout");
_Static_assert(sizeof(NamesSet) == 12 + NAMES_ID_SIZE + NAMES_NAME_SIZE + 20 + 8 + NAMES_TEXT_MAX, "layout");
