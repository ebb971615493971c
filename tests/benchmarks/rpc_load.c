/*
 * A load generator for ONC RPC over TCP: sends prepared calls and counts the replies.
 *
 *     rpc_load HOST PORT CALLS-FILE CONNECTIONS DEPTH SECONDS
 *
 * CALLS-FILE holds records, each a call after its record mark; they are sent in turn, on every connection DEPTH of
 * them unanswered at a time. Replies must come in order and are not looked at beyond their record marks. Prints one
 * line: calls, seconds, and the 50th and 99th percentile of the time to a reply in microseconds.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH 1024
#define SAMPLES 4000000

static unsigned char *calls;
static size_t *starts, count;

typedef struct {
    int sock;
    size_t next;                    /* call to send next */
    size_t sent;                    /* bytes of it that are sent */
    unsigned outstanding, first;    /* ring of the times at which unanswered calls were sent */
    double at[MAX_DEPTH];
    unsigned char mark[4];
    unsigned have;                  /* bytes of the record mark */
    uint32_t left;                  /* bytes of the fragment still to come */
    int last;
} Connection;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void read_calls(const char *path)
{
    FILE *file = fopen(path, "rb");
    long size;
    size_t at;

    if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) <= 0)
        die(path);
    rewind(file);
    calls = malloc(size);
    starts = malloc(sizeof *starts * (size / 4 + 2));
    if (fread(calls, 1, size, file) != (size_t)size)
        die(path);
    for (at = 0; at < (size_t)size;) {
        uint32_t word;

        memcpy(&word, calls + at, 4);
        starts[count++] = at;
        at += 4 + (ntohl(word) & 0x7fffffff);
    }
    starts[count] = size;
    fclose(file);
}

static void open_connection(Connection *c, const char *host, int port, size_t first)
{
    struct sockaddr_in address = {0};
    int one = 1;

    memset(c, 0, sizeof *c);
    c->next = first % count;
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        die(host);
    c->sock = socket(AF_INET, SOCK_STREAM, 0);
    if (c->sock < 0 || connect(c->sock, (struct sockaddr *)&address, sizeof address))
        die("connect");
    setsockopt(c->sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->sock, F_SETFL, O_NONBLOCK);
}

/* Send until DEPTH calls are unanswered or the socket is full. */
static void send_calls(Connection *c, unsigned depth)
{
    while (c->outstanding < depth) {
        size_t start = starts[c->next] + c->sent, end, batch = c->next, free_slots = depth - c->outstanding;
        ssize_t n;

        while (batch < count && batch - c->next < free_slots)
            batch++;
        end = starts[batch];
        n = send(c->sock, calls + start, end - start, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN)
                return;
            die("send");
        }
        start += n;
        while (c->next < count && starts[c->next + 1] <= start) {
            c->at[(c->first + c->outstanding++) % MAX_DEPTH] = now();
            c->next++;
        }
        c->sent = c->next < count ? start - starts[c->next] : 0;
        if (c->next == count) {
            c->next = 0;
            c->sent = 0;
        }
        if (start < end)
            return;
    }
}

/* Read replies; their number. */
static unsigned receive(Connection *c, float *samples, size_t *taken)
{
    static unsigned char buffer[1 << 18];
    unsigned answered = 0;
    ssize_t n = recv(c->sock, buffer, sizeof buffer, 0), at = 0;

    if (n <= 0) {
        if (n < 0 && errno == EAGAIN)
            return 0;
        fprintf(stderr, "the server closed the connection\n");
        exit(1);
    }
    while (at < n) {
        if (c->left) {
            uint32_t step = (uint32_t)(n - at) < c->left ? (uint32_t)(n - at) : c->left;

            c->left -= step;
            at += step;
        } else {
            c->mark[c->have++] = buffer[at++];
            if (c->have < 4)
                continue;
            c->have = 0;
            c->last = c->mark[0] >> 7;
            c->left = (uint32_t)(c->mark[0] & 0x7f) << 24 | c->mark[1] << 16 | c->mark[2] << 8 | c->mark[3];
        }
        if (!c->left && c->last && !c->have) {
            if (*taken < SAMPLES)
                samples[(*taken)++] = (now() - c->at[c->first]) * 1e6;
            c->first = (c->first + 1) % MAX_DEPTH;
            c->outstanding--;
            c->last = 0;
            answered++;
        }
    }
    return answered;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    int connections, i;
    unsigned depth;
    double seconds, begun, end;
    unsigned long answered = 0;
    Connection *all;
    struct pollfd *polled;
    float *samples;
    size_t taken = 0;

    if (argc != 7) {
        fprintf(stderr, "usage: rpc_load HOST PORT CALLS-FILE CONNECTIONS DEPTH SECONDS\n");
        return 2;
    }
    read_calls(argv[3]);
    connections = atoi(argv[4]);
    depth = atoi(argv[5]);
    seconds = atof(argv[6]);
    if (connections < 1 || depth < 1 || depth >= MAX_DEPTH)
        return 2;
    all = calloc(connections, sizeof *all);
    polled = calloc(connections, sizeof *polled);
    samples = malloc(sizeof *samples * SAMPLES);
    for (i = 0; i < connections; i++) {
        open_connection(&all[i], argv[1], atoi(argv[2]), (size_t)i * count / connections);
        polled[i].fd = all[i].sock;
        polled[i].events = POLLIN;
    }
    begun = now();
    for (i = 0; i < connections; i++)
        send_calls(&all[i], depth);
    while ((end = now()) - begun < seconds) {
        if (poll(polled, connections, 1000) < 0)
            die("poll");
        for (i = 0; i < connections; i++)
            if (polled[i].revents) {
                answered += receive(&all[i], samples, &taken);
                send_calls(&all[i], depth);
            }
    }
    qsort(samples, taken, sizeof *samples, by_size);
    printf("%lu %f %.1f %.1f\n", answered, end - begun, taken ? samples[taken / 2] : 0.0,
           taken ? samples[taken * 99 / 100] : 0.0);
    return 0;
}
