// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What stead-fetch gives up before it reads anything from the network.
 */

/**
 * From now on this process is nobody, without capabilities, gains none, writes no file and starts no program, and reads only where
 * libraries keep their configuration, names and certificates (Landlock, where the kernel has it). Ends with its parent. Negative errno.
 */
int fence_enter(void);
