<?php
/* A worker in PHP (Debian: php-cli, php-gearman); examples/ask_php.py is its client.
 *
 * php examples/php_worker.php &
 * python examples/ask_php.py hello
 */
$worker = new GearmanWorker();
[$host, $port] = explode(':', getenv('GEARMAN_SERVER') ?: '127.0.0.1:4730');
$worker->addServer($host, (int) $port);
$worker->addFunction('php-shout', function (GearmanJob $job) {
    $job->sendStatus(1, 2);
    $job->sendData('PHP ' . PHP_MAJOR_VERSION . ' says: ');
    return strtoupper($job->workload()) . '!';
});
while ($worker->work()) {
}
