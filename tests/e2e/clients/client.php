<?php // pecl gearman, over libgearman.
[$host, $port] = explode(":", $argv[1]);
$client = new GearmanClient();
$client->addServer($host, (int) $port);
$client->setTimeout(10000);
echo "reverse ", $client->doNormal("reverse", "abc"), "\n";
echo "high ", $client->doHigh("reverse", "hig", "unique-1"), "\n";
echo "low ", $client->doLow("reverse", "low"), "\n";
echo "chatty ", $client->doNormal("chatty", "x"), "\n";
@$client->doNormal("fail", "x");
echo "fail ", $client->returnCode() == GEARMAN_WORK_FAIL ? "failed" : $client->error(), "\n";
$client->setExceptionCallback(function ($task) { echo "exception ", $task->data(), "\n"; return GEARMAN_SUCCESS; });
$client->setFailCallback(function ($task) { echo "failed\n"; return GEARMAN_SUCCESS; });
$client->addTask("boom", "x");
@$client->runTasks();
$handle = $client->doBackground("nobody", "x", "bg");
[$known, $running] = $client->jobStatus($handle);
echo "background known ", (int) $known, " running ", (int) $running, "\n";
echo "echo ", $client->ping("x") ? "ok" : "lost", "\n";
