/* libgearman's client. */
#include <libgearman/gearman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static gearman_client_st client;

static void do_one(const char *label, const char *function, const char *unique, const char *data) {
    gearman_return_t result;
    size_t size;
    char *value = gearman_client_do(&client, function, unique, data, strlen(data), &size, &result);
    printf("%s %s %.*s\n", label, gearman_strerror(result), (int) (value ? size : 0), value ? value : "");
    free(value);
}

int main(int argc, char **argv) {
    (void) argc;
    setvbuf(stdout, NULL, _IONBF, 0);
    gearman_client_create(&client);
    char *host = strtok(argv[1], ":");
    char *port = strtok(NULL, ":");
    gearman_client_add_server(&client, host, (in_port_t) atoi(port));
    gearman_client_set_timeout(&client, 10000);
    do_one("reverse", "reverse", NULL, "abc");
    do_one("unique", "reverse", "u-1", "abc");
    do_one("empty", "empty", NULL, "x");
    do_one("chatty", "chatty", NULL, "x");
    do_one("fail", "fail", NULL, "x");
    gearman_job_handle_t handle;
    bool known, running;
    uint32_t numerator, denominator;
    printf("background %s\n", gearman_strerror(
        gearman_client_do_background(&client, "nobody", "bg", "x", 1, handle)));
    gearman_client_job_status(&client, handle, &known, &running, &numerator, &denominator);
    printf("status known %d running %d\n", known, running);
    gearman_status_t status = gearman_client_unique_status(&client, "bg", 2);
    printf("unique known %d running %d\n", gearman_status_is_known(status), gearman_status_is_running(status));
    printf("echo %s\n", gearman_strerror(gearman_client_echo(&client, "x", 1)));
    gearman_client_free(&client);
    return 0;
}
