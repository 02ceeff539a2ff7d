// SPDX-License-Identifier: Apache-2.0
#include "greet.h"

int main(void)
{
	return greet("world");
}
