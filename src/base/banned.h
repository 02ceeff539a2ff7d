// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Functions that no file of the project may call: each has a bounded, checked or argv-taking
 * counterpart. The build includes this header before every source (meson: -include), so that a
 * use fails to compile.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Some compilers get it from the C library as a macro, which cannot be poisoned. */
#undef sprintf

#pragma GCC poison strcpy strcat strncat sprintf vsprintf strtok gets atoi atol atof system popen
