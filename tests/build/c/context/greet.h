// SPDX-License-Identifier: Apache-2.0
int greet(const char *whom);
