/* libgearman's gearman_execute with an instant: a job for later, then one for a second that has passed. */
#include <libgearman/gearman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static gearman_client_st client;

static void submit(const char *label, time_t at) {
    char data[32];
    int size = snprintf(data, sizeof data, "%ld", (long) at);
    gearman_argument_t argument = gearman_argument_make(NULL, 0, data, (size_t) size);
    gearman_task_attr_t when = gearman_task_attr_init_epoch(at, GEARMAN_JOB_PRIORITY_NORMAL);
    gearman_task_st *task = gearman_execute(&client, "when", 4, NULL, 0, &when, &argument, NULL);
    printf("%s %s\n", label, task ? gearman_strerror(gearman_task_return(task)) : gearman_client_error(&client));
    if (!task) return;
    bool known, running;
    uint32_t numerator, denominator;
    gearman_client_job_status(&client, gearman_task_job_handle(task), &known, &running, &numerator, &denominator);
    printf("known %d running %d\n", known, running);
}

int main(int argc, char **argv) {
    (void) argc;
    setvbuf(stdout, NULL, _IONBF, 0);
    gearman_client_create(&client);
    char *host = strtok(argv[1], ":");
    char *port = strtok(NULL, ":");
    gearman_client_add_server(&client, host, (in_port_t) atoi(port));
    gearman_client_set_timeout(&client, 10000);
    submit("later", time(NULL) + 3);
    submit("past", time(NULL) - 1);
    return 0;
}
