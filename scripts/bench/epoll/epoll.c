/* epoll LISTENPORT TARGETPORT: forward TCP connections on loopback, bytes only,
 * in one thread. The least that any proxy has to do: what others cost on top
 * of this is theirs. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 64 * 1024 };

/* One end of a forwarded connection, with the bytes it could not yet write. */
struct end {
	int fd;
	struct end *other;
	size_t from, to; /* pending[from..to) came from other and goes to fd */
	int finished;	 /* nothing more comes from fd */
	int closed;
	char pending[ROOM];
};

static int poller;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in loopback(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

/* Wait for what can happen next: to write if something is pending, to read if
 * there is room for it at the other end. */
static void watch(struct end *e, int op)
{
	struct epoll_event ev = {.data.ptr = e};
	if (e->to > e->from)
		ev.events |= EPOLLOUT;
	if (!e->finished && e->other->to == e->other->from)
		ev.events |= EPOLLIN;
	epoll_ctl(poller, op, e->fd, &ev);
}

static struct end *dead[256];
static int deaths;

/* Both ends are freed after the events of this turn: one may still name them. */
static void hang_up(struct end *e)
{
	if (e->closed)
		return;
	e->closed = e->other->closed = 1;
	close(e->fd);
	close(e->other->fd);
	dead[deaths++] = e;
}

/* Returns -1 if the connection is gone. */
static int flush(struct end *e)
{
	while (e->from < e->to) {
		ssize_t n = send(e->fd, e->pending + e->from, e->to - e->from, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		e->from += n;
	}
	e->from = e->to = 0;
	if (e->other->finished)
		shutdown(e->fd, SHUT_WR);
	return 0;
}

static int pump(struct end *e)
{
	struct end *o = e->other;
	ssize_t n = recv(e->fd, o->pending, ROOM, 0);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	if (n == 0)
		e->finished = 1;
	o->to = n;
	return flush(o);
}

static void turn(struct end *e, unsigned events)
{
	struct end *o = e->other;
	if (e->closed)
		return;
	size_t blocked = o->to - o->from, pending = e->to - e->from;
	int finished = e->finished;
	if ((events & EPOLLOUT) && flush(e))
		return hang_up(e);
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !e->finished && o->to == o->from && pump(e))
		return hang_up(e);
	if (e->finished && o->finished && e->to == e->from && o->to == o->from)
		return hang_up(e);
	if (pending || blocked || e->to != e->from || o->to != o->from || finished != e->finished) {
		watch(e, EPOLL_CTL_MOD);
		watch(o, EPOLL_CTL_MOD);
	}
}

static void welcome(int listener, int target)
{
	struct sockaddr_in to = loopback(target);
	int one = 1, fd = accept4(listener, NULL, NULL, 0);
	if (fd < 0)
		return;
	int up = socket(AF_INET, SOCK_STREAM, 0);
	if (up < 0 || connect(up, (struct sockaddr *)&to, sizeof(to))) {
		close(fd);
		close(up);
		return;
	}
	struct end *pair = calloc(2, sizeof(*pair));
	if (!pair)
		die("calloc");
	for (int i = 0; i < 2; i++) {
		pair[i].fd = i ? up : fd;
		pair[i].other = &pair[1 - i];
		setsockopt(pair[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (fcntl(pair[i].fd, F_SETFL, O_NONBLOCK))
			die("fcntl");
	}
	watch(&pair[0], EPOLL_CTL_ADD);
	watch(&pair[1], EPOLL_CTL_ADD);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: epoll LISTENPORT TARGETPORT\n");
		return 2;
	}
	struct sockaddr_in here = loopback(atoi(argv[1]));
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) || listen(listener, 512))
		die("listen");
	poller = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN}, events[256];
	if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &ev))
		die("epoll_ctl");
	for (;;) {
		int n = epoll_wait(poller, events, 256, -1);
		for (int i = 0; i < n; i++) {
			if (!events[i].data.ptr)
				welcome(listener, atoi(argv[2]));
			else
				turn(events[i].data.ptr, events[i].events);
		}
		while (deaths) {
			struct end *e = dead[--deaths];
			free(e < e->other ? e : e->other); /* they were made as a pair */
		}
	}
}
