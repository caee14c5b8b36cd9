/* SPDX-License-Identifier: Apache-2.0 */
/* The floor under every UDP DNS server: sends each datagram back with its QR bit set, in batches of 64.
 * usage: dnsecho PORT (on 127.0.0.1) */
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, SIZE = 1500, BUFFER = 4 << 20 };

static uint8_t data[BATCH][SIZE];
static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in peers[BATCH];

static int listen_on(uint16_t port)
{
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons(port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int size = BUFFER;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0) {
    perror("dnsecho");
    exit(1);
  }
  return fd;
}

int main(int argc, char **argv)
{
  int fd = listen_on((uint16_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 0));
  for (;;) {
    for (int i = 0; i < BATCH; i++) {
      parts[i] = (struct iovec){data[i], SIZE};
      messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i],
                                            .msg_namelen = sizeof peers[i],
                                            .msg_iov = &parts[i],
                                            .msg_iovlen = 1};
    }
    int n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    for (int i = 0; i < n; i++) {
      data[i][2] |= 0x80;
      parts[i].iov_len = messages[i].msg_len;
    }
    for (int sent = 0; sent < n;) {
      int r = sendmmsg(fd, messages + sent, (unsigned)(n - sent), 0);
      if (r <= 0)
        break;
      sent += r;
    }
  }
}
