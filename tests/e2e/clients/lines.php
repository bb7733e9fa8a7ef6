<?php // pecl gearman's client: has each line reversed, and tries again while the server is away.
[$host, $port] = explode(":", $argv[1]);
$client = new GearmanClient();
$client->addServer($host, (int) $port);
while (($line = fgets(STDIN)) !== false) {
    $line = rtrim($line, "\n");
    if ($line == "timeout") {
        $client->setTimeout(300);
        @$client->doNormal("nobody", $line);
        echo $client->returnCode() == GEARMAN_TIMEOUT ? "GEARMAN_TIMEOUT" : $client->error(), "\n";
        continue;
    }
    $client->setTimeout(10000);
    for ($attempt = 0; $attempt < 100; $attempt++) {
        $value = @$client->doNormal("reverse", $line);
        if ($client->returnCode() == GEARMAN_SUCCESS) { echo $value, "\n"; break; }
        usleep(100 * 1000);
    }
}
