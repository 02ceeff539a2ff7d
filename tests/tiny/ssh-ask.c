// SPDX-License-Identifier: Apache-2.0
/*
 * Asks the SSH agent of $SSH_AUTH_SOCK (draft-ietf-sshm-ssh-agent), as ssh-add and ssh do:
 *   ssh-ask list       each key: its blob in hexadecimal, its comment
 *   ssh-ask sign       has it sign something with its first key: how many bytes the signature has
 *   ssh-ask raw HEX    a message as it is: the answer's first byte
 *   ssh-ask flood N    N connections with half a message each, and keeps them until standard input ends
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static uint8_t answer[262144];

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *path = getenv("SSH_AUTH_SOCK");
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	(void) snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path ? path : "");
	if (connect(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0) {
		perror(path ? path : "SSH_AUTH_SOCK is not set");
		exit(3);
	}
	return fd;
}

static void put32(uint8_t *p, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t) (n >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static void read_all(int fd, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t k = read(fd, p, n);
		if (k <= 0) {
			fputs("the agent has closed the connection\n", stderr);
			exit(4);
		}
		p += k;
		n -= (size_t) k;
	}
}

/* The answer's length. */
static size_t ask(const uint8_t *message, size_t n)
{
	int fd = dial();
	uint8_t length[4];
	put32(length, (uint32_t) n);
	if (write(fd, length, 4) != 4 || write(fd, message, n) != (ssize_t) n)
		exit(4);
	read_all(fd, length, 4);
	size_t got = get32(length);
	if (got == 0 || got > sizeof(answer))
		exit(5);
	read_all(fd, answer, got);
	close(fd);
	return got;
}

static int list(void)
{
	size_t got = ask((const uint8_t *) "\13", 1), at = 5;
	if (answer[0] != 12 || got < 5)
		return 6;
	for (uint32_t i = get32(answer + 1); i; i--) {
		uint32_t n = get32(answer + at);
		for (uint32_t k = 0; k < n; k++)
			printf("%02x", answer[at + 4 + k]);
		at += 4 + n;
		n = get32(answer + at);
		printf(" %.*s\n", (int) n, answer + at + 4);
		at += 4 + n;
	}
	return 0;
}

static int sign(void)
{
	static uint8_t message[8192] = { 13 };
	(void) ask((const uint8_t *) "\13", 1);
	uint32_t n = get32(answer + 5);
	if (answer[0] != 12 || !get32(answer + 1) || n > 4096)
		return 6;
	memcpy(message + 1, answer + 5, 4 + n);
	put32(message + 5 + n, 5);
	memcpy(message + 9 + n, "hello", 5);
	size_t got = ask(message, 9 + n + 5 + 4); /* flags: none */
	if (answer[0] != 14)
		return 7;
	printf("%zu\n", got);
	return 0;
}

static int raw(const char *hex)
{
	uint8_t message[4096];
	size_t n = 0;
	for (; hex[0] && hex[1] && n < sizeof(message); hex += 2) {
		char two[] = { hex[0], hex[1], '\0' };
		message[n++] = (uint8_t) strtoul(two, NULL, 16);
	}
	(void) ask(message, n);
	printf("%u\n", answer[0]);
	return 0;
}

static int flood(int n)
{
	char byte;
	for (int i = 0; i < n; i++)
		if (write(dial(), "\0\0\1\0x", 5) != 5)
			return 4;
	puts("flooded");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "list"))
		return list();
	if (argc > 1 && !strcmp(argv[1], "sign"))
		return sign();
	if (argc > 2 && !strcmp(argv[1], "raw"))
		return raw(argv[2]);
	if (argc > 2 && !strcmp(argv[1], "flood"))
		return flood(atoi(argv[2]));
	return 2;
}
