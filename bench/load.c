/* A load on a Gearman server: clients and workers in one process on one epoll, pinned to the last processor.
 *
 *     load PORT KIND CLIENTS DEPTH WORKERS SECONDS JOBS BYTES
 *
 * KIND     echo   ECHO_REQ until ECHO_RES
 *          bg     SUBMIT_JOB_BG until JOB_CREATED
 *          fg     SUBMIT_JOB until WORK_COMPLETE
 *          drain  no clients: WORKERS work off JOBS jobs that are queued already
 * CLIENTS  connections that each keep DEPTH requests under way
 * WORKERS  connections that speak the plain GRAB_JOB / PRE_SLEEP / NOOP protocol, and give each job's data back
 * SECONDS  how long to measure, after a tenth of it to warm up; or, where JOBS is not 0, until so many are done
 * BYTES    of data in each request
 *
 * Each request's data begins with the instant at which it was sent, and the answer brings it back: that is the latency.
 * Prints one line of JSON: rate (a second), p50 and p99 (ms), took (s, from the first request on, when all are connected),
 * cpu (this process's share of one processor meanwhile).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CAN_DO = 1, PRE_SLEEP = 4, NOOP = 6, SUBMIT_JOB = 7, JOB_CREATED = 8, GRAB_JOB = 9, NO_JOB = 10,
       JOB_ASSIGN = 11, WORK_COMPLETE = 13, ECHO_REQ = 16, ECHO_RES = 17, SUBMIT_JOB_BG = 18, ERROR = 19 };
enum { HEADER = 12, CHUNK = 256 * 1024, EVENTS = 512 };
static const char FUNCTION[] = "bench";

struct bytes { uint8_t *data; size_t length, room; };
struct peer {
    int fd, is_worker, is_watching_out;
    struct bytes in, out;
    uint64_t *sent_at;      /* bg: a ring of instants, for JOB_CREATED brings nothing back */
    unsigned oldest, newest;
};

static int kind, depth, body_bytes, poll_fd;
static long jobs, submitted, done, counted;
static unsigned asleep;
static uint64_t count_from = UINT64_MAX, count_until = UINT64_MAX;
static uint8_t *body;
static uint64_t histogram[64 * 64];     /* by power of two, and 64 steps in each: 1.6 % of a latency */

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static uint8_t *extend(struct bytes *b, size_t more)
{
    if (b->length + more > b->room) {
        b->room = 2 * (b->length + more);
        if (!(b->data = realloc(b->data, b->room)))
            fail("memory");
    }
    b->length += more;
    return b->data + b->length - more;
}

static uint8_t *packet(struct peer *p, uint32_t type, uint32_t size)
{
    uint8_t *at = extend(&p->out, HEADER + size);
    type = htonl(type);
    uint32_t size_n = htonl(size);
    memcpy(at, "\0REQ", 4);
    memcpy(at + 4, &type, 4);
    memcpy(at + 8, &size_n, 4);
    return at + HEADER;
}

static void request(struct peer *p, uint64_t at)
{
    if (jobs && submitted >= jobs)
        return;
    submitted++;
    memcpy(body, &at, sizeof at);
    if (kind == ECHO_REQ) {
        memcpy(packet(p, ECHO_REQ, body_bytes), body, body_bytes);
        return;
    }
    uint8_t *to = packet(p, kind, sizeof FUNCTION + 1 + body_bytes);
    memcpy(to, FUNCTION, sizeof FUNCTION);      /* with its NUL */
    to[sizeof FUNCTION] = 0;                    /* an empty unique */
    memcpy(to + sizeof FUNCTION + 1, body, body_bytes);
    if (kind == SUBMIT_JOB_BG)
        p->sent_at[p->newest++ % depth] = at;
}

static void answered(struct peer *p, uint64_t sent_at, uint64_t at)
{
    done++;
    if (at >= count_from && at < count_until) {
        uint64_t took = at - sent_at;
        int power = 63 - __builtin_clzll(took | 64);
        histogram[(power - 6) * 64 + ((took >> (power - 6)) & 63)]++;
        counted++;
    }
    request(p, at);
}

static uint64_t instant(const uint8_t *data)
{
    uint64_t at;
    memcpy(&at, data, sizeof at);
    return at;
}

static void take(struct peer *p, uint32_t type, const uint8_t *data, uint32_t size, uint64_t at)
{
    const uint8_t *nul;
    switch (type) {
    case ECHO_RES:
        answered(p, instant(data), at);
        break;
    case JOB_CREATED:
        if (kind == SUBMIT_JOB_BG)
            answered(p, p->sent_at[p->oldest++ % depth], at);
        break;
    case WORK_COMPLETE:
        if (!(nul = memchr(data, 0, size)))
            fail("a WORK_COMPLETE without data");
        answered(p, instant(nul + 1), at);
        break;
    case JOB_ASSIGN: {
        nul = memchr(data, 0, size);
        size_t handle = nul - data + 1;
        const uint8_t *job = (uint8_t *)memchr(nul + 1, 0, size - handle) + 1;
        size_t length = data + size - job;
        uint8_t *to = packet(p, WORK_COMPLETE, handle + length);
        memcpy(to, data, handle);
        memcpy(to + handle, job, length);
        packet(p, GRAB_JOB, 0);
        if (!kind)
            done++;
        break;
    }
    case NO_JOB:
        packet(p, PRE_SLEEP, 0);
        asleep++;
        break;
    case NOOP:
        packet(p, GRAB_JOB, 0);
        break;
    default:
        fprintf(stderr, "load: packet %u: %.*s\n", type, (int)size, (const char *)data);
        exit(1);
    }
}

static void flush(struct peer *p)
{
    size_t at = 0;
    while (at < p->out.length) {
        ssize_t sent = send(p->fd, p->out.data + at, p->out.length - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            fail("send");
        if (sent < 0)
            break;
        at += sent;
    }
    memmove(p->out.data, p->out.data + at, p->out.length -= at);
    if (p->is_watching_out != (p->out.length > 0)) {
        p->is_watching_out = p->out.length > 0;
        struct epoll_event e = { EPOLLIN | (p->is_watching_out ? EPOLLOUT : 0), { .ptr = p } };
        epoll_ctl(poll_fd, EPOLL_CTL_MOD, p->fd, &e);
    }
}

static void receive(struct peer *p)
{
    ssize_t got = recv(p->fd, extend(&p->in, CHUNK), CHUNK, MSG_DONTWAIT);
    p->in.length -= CHUNK;
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        fail("the server closed a connection");
    p->in.length += got;
    size_t at = 0;
    uint64_t arrived_at = now();
    while (p->in.length - at >= HEADER) {
        uint32_t header[3];
        memcpy(header, p->in.data + at, HEADER);
        uint32_t size = ntohl(header[2]);
        if (p->in.length - at < HEADER + (size_t)size)
            break;
        take(p, ntohl(header[1]), p->in.data + at + HEADER, size, arrived_at);
        at += HEADER + size;
    }
    memmove(p->in.data, p->in.data + at, p->in.length -= at);
}

static void turn(int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(poll_fd, events, EVENTS, timeout_ms);
    for (int n = 0; n < ready; n++) {
        if (events[n].events & ~EPOLLOUT)
            receive(events[n].data.ptr);
        flush(events[n].data.ptr);
    }
}

static struct peer *dial(int port, int is_worker)
{
    struct peer *p = calloc(1, sizeof *p);
    struct sockaddr_in to = { AF_INET, htons(port), { htonl(INADDR_LOOPBACK) }, { 0 } };
    int one = 1;
    p->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&to, sizeof to))
        fail("connect");
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    p->is_worker = is_worker;
    p->sent_at = calloc(depth, sizeof *p->sent_at);
    struct epoll_event e = { EPOLLIN, { .ptr = p } };
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, p->fd, &e);
    return p;
}

static double percentile(double share)
{
    uint64_t wanted = share * counted, seen = 0;
    for (int n = 0; n < 64 * 64; n++)
        if ((seen += histogram[n]) > wanted)
            return (double)(((uint64_t)(64 + n % 64)) << (n / 64)) / 1e6;
    return 0;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void pin(void)
{
    cpu_set_t last;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    CPU_ZERO(&last);
    CPU_SET(processors - 1, &last);
    if (processors > 1)
        sched_setaffinity(0, sizeof last, &last);
}

int main(int argc, char **argv)
{
    if (argc != 9)
        fail("usage: load PORT KIND CLIENTS DEPTH WORKERS SECONDS JOBS BYTES");
    int port = atoi(argv[1]), clients = atoi(argv[3]);
    unsigned workers = atoi(argv[5]);
    double seconds = atof(argv[6]);
    kind = !strcmp(argv[2], "echo") ? ECHO_REQ : !strcmp(argv[2], "bg") ? SUBMIT_JOB_BG :
           !strcmp(argv[2], "fg") ? SUBMIT_JOB : 0;
    depth = atoi(argv[4]);
    jobs = atol(argv[7]);
    body_bytes = atoi(argv[8]) < 8 ? 8 : atoi(argv[8]);
    body = calloc(1, body_bytes);
    poll_fd = epoll_create1(0);
    pin();
    alarm(jobs ? 240 : 20 + 2 * (unsigned)seconds);     /* a server that stops answering must not stop everything */

    struct peer *all[workers + clients];
    for (unsigned n = 0; n < workers + clients; n++)
        all[n] = dial(port, n < workers);
    for (unsigned n = 0; n < workers; n++) {
        memcpy(packet(all[n], CAN_DO, sizeof FUNCTION - 1), FUNCTION, sizeof FUNCTION - 1);
        packet(all[n], GRAB_JOB, 0);
        flush(all[n]);
    }
    for (uint64_t until = now() + 200000000u; kind && (asleep < workers || (workers && now() < until));)
        turn(10);

    uint64_t began = now();
    if (!jobs) {
        count_from = began + 1e8 * seconds;
        count_until = count_from + 1e9 * seconds;
    } else
        count_from = began;
    double cpu_before = cpu_seconds();
    for (unsigned n = workers; n < workers + clients; n++) {
        for (int m = 0; m < depth; m++)
            request(all[n], now());
        flush(all[n]);
    }
    while (jobs ? done < jobs : now() < count_until)
        turn(100);
    double took = (now() - began) / 1e9;
    printf("{\"rate\": %.1f, \"p50\": %.4f, \"p99\": %.4f, \"took\": %.4f, \"cpu\": %.3f}\n",
           jobs ? done / took : counted / seconds, percentile(0.5), percentile(0.99), took,
           (cpu_seconds() - cpu_before) / took);
    return 0;
}
