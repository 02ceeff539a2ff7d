// SPDX-License-Identifier: Apache-2.0
#include "greet.h"
#include <stdio.h>

int greet(const char *whom)
{
	return printf("hello, %s\n", whom) < 0;
}
