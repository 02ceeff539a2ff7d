// SPDX-License-Identifier: Apache-2.0
/*
 * Answers each UDP datagram with who sent it and what it said. busybox has no UDP server, and the
 * test image is nothing but busybox and this.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t) strtoul(argc > 1 ? argv[1] : "7", NULL, 10))};

	if (fd < 0 || bind(fd, (struct sockaddr *) &a, sizeof a) < 0) {
		perror("udp-echo");
		return 1;
	}
	for (;;) {
		char in[1024], out[1200], from[INET_ADDRSTRLEN];
		struct sockaddr_in peer;
		socklen_t len = sizeof peer;
		ssize_t n = recvfrom(fd, in, sizeof in - 1, 0, (struct sockaddr *) &peer, &len);

		if (n < 0)
			continue;
		in[n] = 0;
		int m = snprintf(out, sizeof out, "%s said %s", inet_ntop(AF_INET, &peer.sin_addr, from, sizeof from), in);
		(void) sendto(fd, out, (size_t) m, 0, (struct sockaddr *) &peer, len);
	}
}
