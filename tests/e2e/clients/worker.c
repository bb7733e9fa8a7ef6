/* libgearman's worker, in its usual loop: whatever becomes of the connection, work goes on. */
#include <libgearman/gearman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *reverse(gearman_job_st *job, void *context, size_t *size, gearman_return_t *result) {
    (void) context;
    const char *data = gearman_job_workload(job);
    *size = gearman_job_workload_size(job);
    char *reversed = malloc(*size + 1);
    for (size_t i = 0; i < *size; i++) reversed[i] = data[*size - 1 - i];
    *result = GEARMAN_SUCCESS;
    return reversed;
}

static void *slow(gearman_job_st *job, void *context, size_t *size, gearman_return_t *result) {
    (void) job, (void) context;
    usleep(1000 * 1000);
    *size = 4;
    *result = GEARMAN_SUCCESS;
    return strdup("late");
}

int main(int argc, char **argv) {
    (void) argc;
    gearman_worker_st worker;
    gearman_worker_create(&worker);
    char *host = strtok(argv[1], ":");
    char *port = strtok(NULL, ":");
    gearman_worker_add_server(&worker, host, (in_port_t) atoi(port));
    gearman_worker_add_function(&worker, "reverse", 0, reverse, NULL);
    gearman_worker_add_function(&worker, "slow", 300, slow, NULL);
    for (;;)
        if (gearman_failed(gearman_worker_work(&worker))) usleep(100 * 1000);
}
