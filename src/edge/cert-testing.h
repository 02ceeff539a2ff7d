// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the tests of certificates share: keys made for them, a scratch directory, certificates of any validity. */

#include <fcntl.h>
#include <openssl/pem.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "edge/cert-make.h"

#define NOW 1800000000LL
#define DAYS(n) ((n) * 86400LL)

static const char ec_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgdgZfkYIGLNB5IGxJ\n"
	"SjcPHK3XYrgxSPeGQ7BJP4tJyj6hRANCAATiPSdIyN4gVX8oNZ08kcjVtCmEJ8PG\n"
	"x7Lg+/Z67hiwd/Gzgeomapmqaz6JPCpotmySCgHYF0Mdzb2xmiZk7j1S\n"
	"-----END PRIVATE KEY-----\n";
static const char weak_rsa_key[] = /* 1024 bits */
	"-----BEGIN PRIVATE KEY-----\n"
	"MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAL5Xw7sngOQZj0/Y\n"
	"zhXftbAPXEuqFUAKyfZo45nbYcpU4CFG06PcLMK7y2guoJuY+0CVMybNyFarRHa/\n"
	"/U54u04Dftc4PwjxnSImhZDICOyB/GzhaFdvP55yZWwucDWQk9iIrfSdlm8Kso8K\n"
	"D8rgef9X7BwwwZHbgsgY/IUYlOk7AgMBAAECgYBLrQkct6//AEqCLGiDOdY6kWDY\n"
	"lF6uf5ucZEdZPGe80dHqaQZr93W0VoWgfilMs53xJ2CW5Onpy14E+H/1WvrccboC\n"
	"A+MfW4iWexZZtBejaDKJa0ZiGCPvfCTjJx3iNPnbTfZX6Kp4INmt8SL4N4Nzn8Yi\n"
	"d5V64G4qBX7TM4TvAQJBAOfaplMAhpLBvlWqzQTd/mgQGFAaDsDzGDQnc7mcAS3g\n"
	"jkMgr7ylMxCOUqAcB+dkEv6aBu4dAJ0j2u9VfQEdf6sCQQDSKmcmboB/Ub3a8kww\n"
	"GBIuJL/MppPWPz6jR1Sxf3X9B9xkCEyDOlMNibhquq9McbJ3uLZpoQGVXub+9uHe\n"
	"euyxAkBExw7J1oEVLdX5cbZpuDTMx+F+eYxg3nwSlJV2vPl4k4GAFkUrb9ILGj0W\n"
	"c9pAYOZlkml13zKcatN6ZeC0IP0LAkEAmShto4REAIUBZt3Mx//Cv/3oCKwccLYG\n"
	"X9dL0U6iHZPs+LlTiQ6oF+WVj7IcrgjtlnH1/WRoUwKmNIiWchwDAQJBALpvOace\n"
	"FIJFF/w8+pN0hYo5mwQzmimUOtG3gvdwAv4W9fJfGcD60r11QyShciCWTL/ek7m9\n"
	"NoR4HwCzrTspRoA=\n"
	"-----END PRIVATE KEY-----\n";

static char scratch[] = "/tmp/stead-test-cert-XXXXXX";

static inline int scratch_setup(void **state)
{
	return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_teardown(void **state)
{
	return tree_remove(AT_FDCWD, scratch);
}

/** Path of a file in the scratch directory. Owned by the caller. */
static inline char *at(const char *name)
{
	return xasprintf("%s/%s", scratch, name);
}

static inline char *put(const char *name, const void *p, size_t n)
{
	char *path = at(name);
	/* Another inode each time: within a tick of the kernel's clock a file that is written again has the same times. */
	if (file_write_atomic(AT_FDCWD, path, p, n, 0600, false) < 0)
		abort();
	return path;
}

/** A bundle (certificate and key) for `host`, made at `when`; signed by itself. */
static inline void make_for(const char *host, int64_t when, Buf *ret)
{
	char *names[] = { (char *) host, NULL };
	CertInfo info = { 0 };
	if (cert_leaf_make(NULL, names, when, ret, &info, NULL) < 0)
		abort();
	cert_info_done(&info);
}
