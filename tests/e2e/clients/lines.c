/* libgearman's client: has each line reversed, and tries again while the server is away. */
#include <libgearman/gearman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    (void) argc;
    gearman_client_st client;
    setvbuf(stdout, NULL, _IONBF, 0);
    gearman_client_create(&client);
    char *host = strtok(argv[1], ":");
    char *port = strtok(NULL, ":");
    gearman_client_add_server(&client, host, (in_port_t) atoi(port));
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        int is_timeout = !strcmp(line, "timeout");
        gearman_client_set_timeout(&client, is_timeout ? 300 : 10000);
        for (int attempt = 0; attempt < 100; attempt++) {
            gearman_return_t result;
            size_t size;
            char *value = gearman_client_do(&client, is_timeout ? "nobody" : "reverse", NULL, line, strlen(line), &size, &result);
            if (result == GEARMAN_SUCCESS) printf("%.*s\n", (int) size, value);
            if (is_timeout) printf("%s\n", gearman_strerror(result));
            free(value);
            if (is_timeout || result == GEARMAN_SUCCESS) break;
            usleep(100 * 1000);
        }
    }
    return 0;
}
